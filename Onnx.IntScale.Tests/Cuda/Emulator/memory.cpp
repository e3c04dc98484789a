// Memory: allocations of the device, shared memory, and what the kernel before may still write.
#include "memory.h"
#include <sys/mman.h>
#include "machine.h"

namespace emu {

constexpr long kPage = 4096;

static std::map<unsigned char*, long> ranges;  // bytes of allocations

static long round_up(long bytes, long to) { return (bytes + to - 1) / to * to; }

// An allocation ends, but for alignment, before a page that faults, and begins after one.
unsigned char* allocate(long bytes) {
    long inner = round_up(bytes, 16), pages = round_up(inner, kPage);
    auto* at = (unsigned char*)mmap(nullptr, pages + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(at + kPage, pages, PROT_READ | PROT_WRITE);
    unsigned char* base = at + kPage + pages - inner;
    ranges[base] = bytes;
    return base;
}

void release(unsigned char* base) {
    auto range = ranges.find(base);
    if (range == ranges.end()) fail("no allocation at %p", base);
    long inner = round_up(range->second, 16), pages = round_up(inner, kPage);
    ranges.erase(range);
    munmap(base + inner - pages - kPage, pages + 2 * kPage);
}

static auto range_of(const void* p) {
    auto* at = (unsigned char*)p;
    auto range = ranges.upper_bound(at);
    if (range == ranges.begin()) return ranges.end();
    --range;
    return at < range->first + range->second ? range : ranges.end();
}

void check_range(const void* p, long bytes, const char* what) {
    auto range = range_of(p);
    if ((uintptr_t)p % bytes) fail("%s of %ld bytes at %p", what, bytes, p);
    if (range == ranges.end() || (unsigned char*)p + bytes > range->first + range->second) fail("%s of %ld bytes outside of memory", what, bytes);
}

unsigned absolute(unsigned address) { return address >> 24 ? address : address | (block->rank + 1) << 24; }

unsigned char* shared_at(unsigned address, unsigned bytes, const char* what) {
    unsigned rank = (absolute(address) >> 24) - 1, at = (address & 0xFFFFFF) - shared_base;
    if (rank >= cluster.size || address % (bytes > 16 ? 16 : bytes) || at > dynamic_shared_bytes || at + bytes > dynamic_shared_bytes)
        fail("%s: %u bytes at shared %x (offset %d of %u)", what, bytes, address, (int)at, dynamic_shared_bytes);
    if (address >> 24 && !cluster.blocks[rank].alive) fail("%s: block %u of the cluster is gone", what, rank);
    return cluster.blocks[rank].shared + at;
}

// What the kernel before may still write or read (A, a computed bias, memory that Y reuses, a8, a_scales) becomes what it is only at its end:
// until then it is something else, and what is written there is lost.
struct Hidden {
    unsigned char* at;
    std::vector<unsigned char> bytes;
};
static std::vector<Hidden> hidden;

void before_begins(const void* parameter) {
    auto* pointers = (unsigned char* const*)parameter;  // intscale.cuh: Params
    for (int i : {0, 5, 6, 7, 8}) {
        auto range = range_of(pointers[i]);
        if (range != ranges.end()) hidden.push_back({range->first, {range->first, range->first + range->second}});
    }
    for (auto& h : hidden) memset(h.at, 0x3B, h.bytes.size());
}

void before_ends() {
    for (auto& h : hidden) memcpy(h.at, h.bytes.data(), h.bytes.size());
    hidden.clear();
}

}  // namespace emu
