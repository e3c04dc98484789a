// wgmma: products at once, or not before somebody waits for them.
#include "machine.h"

namespace emu {

// A warp's 16 rows of its warpgroup's product.
static void perform(const Product& p) {
    int16_t a[16][32], b[256][32];
    for (int l = 0; l < 32; l++)
        for (int i = 0; i < 4; i++)
            for (int e = 0; e < 4; e++) a[l / 4 + i % 2 * 8][i / 2 * 16 + l % 4 * 4 + e] = (int8_t)(p.a[l][i] >> 8 * e);
    // Rows of 128 bytes in groups of eight, 128-byte swizzle.
    unsigned start = (p.b & 0x3FFF) << 4;
    for (int r = 0; r < p.tokens; r++)
        for (int c = 0; c < 32; c += 16) {
            unsigned address = start + r / 8 * 1024 + r % 8 * 128 + c;
            auto* from = (const int8_t*)shared_at(address ^ (address >> 7 & 7) << 4, 16, "wgmma");
            for (int e = 0; e < 16; e++) b[r][c + e] = from[e];
        }
    for (int l = 0; l < 32; l++)
        for (int e = 0; e < p.tokens / 2; e++) {
            const int16_t *x = a[l / 4 + e % 4 / 2 * 8], *y = b[e / 4 * 8 + l % 4 * 2 + e % 2];
            int sum = 0;
            for (int k = 0; k < 32; k++) sum += x[k] * y[k];
            p.d[l][e] = (p.accumulate ? p.d[l][e] : 0) + sum;
        }
}

static Warp& this_warp() { return block->warps[thread_index.x / 32]; }

void product_issue(const Product& p) {
    for (unsigned lane = 0; lane < 32; lane++) product_reads(lane, p.a[lane]);
    if (when == When::kEarly) return perform(p);
    // What products in flight write is unknown until they are waited for.
    for (auto* d : p.d)
        for (int e = 0; !p.accumulate && e < p.tokens / 2; e++) d[e] = 0x5BADBEEF;
    this_warp().open.push_back(p);
}

void product_commit() {
    Warp& w = this_warp();
    w.groups.push_back(std::move(w.open)), w.open.clear();
}

void product_wait(unsigned left) {
    if (left == 0) no_products_left();
    Warp& w = this_warp();
    for (; w.groups.size() > left; w.groups.erase(w.groups.begin()))
        for (auto& p : w.groups.front()) perform(p);
}

}  // namespace emu
