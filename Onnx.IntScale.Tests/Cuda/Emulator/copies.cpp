// Asynchronous copies and stores: done at once, when nobody can go on otherwise, or at random.
#include "machine.h"
#include "tensor_map.h"

namespace emu {

std::vector<std::function<void()>> pending;

static void later(std::function<void()> work) {
    if (when == When::kEarly || (when == When::kRandom && random_bits() % 4 == 0)) work();
    else pending.push_back(std::move(work));
}

void run_pending() {
    size_t i = random_bits() % pending.size();
    auto work = std::move(pending[i]);
    pending[i] = std::move(pending.back()), pending.pop_back();
    work();
}

static void perform(const Copy& c) { check_loads(c.to, c.bytes, "cp.async"), memset(c.to, 0, c.bytes), memcpy(c.to, c.from, c.size); }

void async_copy(unsigned to, const void* from, int bytes, int size) {
    Copy c{shared_at(to, bytes, "cp.async"), from, bytes, size};
    if (size < 0 || size > bytes || (uintptr_t)from % bytes) fail("cp.async of %d of %d bytes at %p", size, bytes, from);
    if (size == bytes) check_range(from, bytes, "cp.async");
    if (when == When::kEarly) perform(c);
    else current->open.push_back(c);
}

void commit_copies() { current->groups.push_back(std::move(current->open)), current->open.clear(); }

void wait_for_copies(unsigned left) {
    for (; current->groups.size() > left; current->groups.erase(current->groups.begin()))
        for (auto& c : current->groups.front()) perform(c);
}

void arrive_when_copied(unsigned barrier) {
    barrier = absolute(barrier);
    later([copies = std::move(current->open), barrier] {
        for (auto& c : copies) perform(c);
        mbarrier_count(barrier);
    });
    current->open.clear();
}

void bulk_copy(unsigned to, const void* from, unsigned bytes, unsigned barrier) {
    unsigned char* at = shared_at(to, bytes, "bulk copy");
    if (bytes % 16 || (uintptr_t)from % 16) fail("bulk copy of %u bytes at %p", bytes, from);
    check_range(from, 1, "bulk copy"), check_range((const char*)from + bytes - 1, 1, "bulk copy");
    barrier = absolute(barrier);
    later([=] {
        check_loads(at, bytes, "bulk copy");
        memcpy(at, from, bytes);
        mbarrier_complete(barrier, bytes);
    });
}

void tensor_copy(unsigned to, const void* map, int x, int y, unsigned barrier) {
    const TensorMap& t = *(const TensorMap*)map;
    if (t.magic != TensorMap::kMagic || (uintptr_t)map % 64) fail("no tensor map");
    unsigned bytes = t.box[0] * t.box[1];
    unsigned char* at = shared_at(to, bytes, "tensor copy");
    if (to % 128) fail("tensor copy to %x", to);
    barrier = absolute(barrier);
    later([=, t = t] {
        check_loads(at, bytes, "tensor copy");
        for (unsigned r = 0; r < t.box[1]; r++)
            for (unsigned c = 0; c < t.box[0]; c++) {
                // The 64-byte swizzle is of addresses.
                unsigned address = to + r * t.box[0] + c, swizzled = address ^ (address >> 7 & 3) << 4;
                long row = y + (long)r, column = x + (long)c;
                bool inside = column >= 0 && column < (long)t.width && row >= 0 && row < (long)t.height;
                at[(int)(swizzled - to)] = inside ? t.base[row * (long)t.pitch + column] : 0;
            }
        mbarrier_complete(barrier, bytes);
    });
}

void store_async(unsigned to, const void* value, unsigned bytes, unsigned barrier) {
    unsigned char* at = shared_at(to, bytes, "st.async");
    if (absolute(to) >> 24 != absolute(barrier) >> 24) fail("st.async: barrier of another block");
    std::vector<unsigned char> v((const unsigned char*)value, (const unsigned char*)value + bytes);
    barrier = absolute(barrier);
    later([=] {
        memcpy(at, v.data(), bytes);
        mbarrier_complete(barrier, bytes);
    });
}

}  // namespace emu
