// Loads from shared memory may be under way long after what follows them in the program: only products that read their registers, or the wait
// for products, tell that they are over. ptxas does not make an mbarrier's arrival wait for them, so the copy engine must not have been told
// before that their place is free.
#include "machine.h"

namespace emu {

constexpr size_t kMost = 256;  // kernels without such products are of no interest here

void load_begins(const unsigned char* at, unsigned bytes) {
    const Warp& warp = block->warps[thread_index.x / 32];
    if (current->loads_since != warp.product_events || current->loads.size() == kMost) current->loads.clear();
    current->loads_since = warp.product_events;
    current->loads.push_back({at, bytes});
}

void loads_are_over() { block->warps[thread_index.x / 32].product_events++; }

void check_loads(const unsigned char* at, unsigned bytes, const char* what) {
    for (unsigned b = 0; b < cluster.size; b++) {
        const Block& owner = cluster.blocks[b];
        if (at < owner.shared || at >= owner.shared + dynamic_shared_bytes) continue;
        for (unsigned t = 0; t < block_size.x; t++) {
            const Fiber& f = fiber_of(b, t);
            if (!f.alive || f.loads_since != owner.warps[t / 32].product_events) continue;
            for (const Load& load : f.loads)
                if (load.at < at + bytes && at < load.at + load.bytes) fail("%s to where a load of thread %u of block %u may still be under way", what, t, b);
        }
    }
}

}  // namespace emu
