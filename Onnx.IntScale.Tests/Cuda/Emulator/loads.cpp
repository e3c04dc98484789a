// Loads from shared memory may be under way long after what follows them in the program: that they are over is known once a product is issued
// that reads registers written since, or no products are left to wait for. ptxas does not make an mbarrier's arrival wait for loads, so nobody
// may have been told before that their place is free. Only kernels that take a tensor map have such products.
#include "machine.h"

namespace emu {

void load_begins(const unsigned char* at, unsigned bytes) {
    if (has_tensor_map) current->loads.push_back({at, bytes, ++current->time});
}

// The kernels pin the registers of products once they are written.
void pinned(const void* at) {
    for (auto& f : current->fragments)
        if (at == f.at) f.written = ++current->time;
}

static void loads_before(Fiber& f, long time) {
    std::erase_if(f.loads, [=](const Load& load) { return load.time < time; });
}

void product_reads(unsigned lane, const unsigned* fragment) {
    Fiber& f = fiber_of(block->rank, thread_index.x / 32 * 32 + lane);
    for (auto& known : f.fragments)
        if (known.at == fragment) return loads_before(f, known.written);
    // The first time: all loads that were before the product.
    f.fragments.push_back({fragment, ++f.time});
    loads_before(f, f.time);
}

void no_products_left() {
    for (unsigned lane = 0; lane < 32; lane++) fiber_of(block->rank, thread_index.x / 32 * 32 + lane).loads.clear();
}

void check_loads(const void* to, unsigned bytes, const char* what) {
    auto* at = (const unsigned char*)to;
    for (unsigned b = 0; has_tensor_map && b < cluster.size; b++) {
        const Block& owner = cluster.blocks[b];
        if (at < owner.shared || at >= owner.shared + dynamic_shared_bytes) continue;
        for (unsigned t = 0; t < block_size.x; t++) {
            const Fiber& f = fiber_of(b, t);
            for (const Load& load : f.loads)
                if (f.alive && load.at < at + bytes && at < load.at + load.bytes) fail("%s to where a load of thread %u of block %u may still be under way", what, t, b);
        }
    }
}

}  // namespace emu
