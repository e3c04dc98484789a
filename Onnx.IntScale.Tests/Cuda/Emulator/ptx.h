// The PTX instructions of the kernels, each a function of its whole name and of its operands in order: CudaSource.cs makes calls of them.
#pragma once
#include <immintrin.h>
#include <tuple>
#include "cuda.h"

namespace ptx {
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;

inline u32 cluster_ctarank() { return emu::block->rank; }
inline u32 cluster_nctarank() { return emu::cluster.size; }
inline u32 clock() {
    static u32 cycles;
    return cycles += 100;
}

// Registers.
template <class T> inline void pin(const T& v) { emu::pinned(&v); }
inline void mov_b32(u32& d, u32 a) { d = a; }
inline void mov_u32(u32& d, u32 a) { d = a; }
inline void mov_b64(u64& d, u32 low, u32 high) { d = (u64)high << 32 | low; }
inline void selp_u32(u32& d, u32 a, u32 b, bool p) { d = p ? a : b; }
inline void setp_ne_b32(bool& p, u32 a, u32 b) { p = a != b; }
inline void lop3_b32(u32& d, u32 a, u32 b, u32 c, u32 table) {
    d = 0;
    for (int i = 0; i < 8; i++)
        if (table >> i & 1) d |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
}
inline void max_u16x2(u32& d, u32 a, u32 b) { d = umax(a & 0xFFFF0000, b & 0xFFFF0000) | umax(a & 0xFFFF, b & 0xFFFF); }
inline void vabsdiff4_u32_u32_u32_add(u32& d, u32 a, u32 b, u32 c) { d = __dp4a(__vabsdiffu4(a, b), 0x01010101u, c); }
inline void cvt_f32_f16(float& d, u16 a) { d = _cvtsh_ss(a); }
inline void cvt_rn_f16_f32(u16& d, float a) { d = _cvtss_sh(a, 0); }
inline void cvt_rn_f16x2_f32(u32& d, float high, float low) { d = (u32)_cvtss_sh(high, 0) << 16 | _cvtss_sh(low, 0); }
inline u16 bfloat(float f) {
    u32 bits = __float_as_uint(f);
    return f != f ? 0x7FFF : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}
inline void cvt_rn_bf16x2_f32(u32& d, float high, float low) { d = (u32)bfloat(high) << 16 | bfloat(low); }

// Memory.
inline void createpolicy_fractional_L2_evict_first_b64(u64& d, double) { d = 1; }
inline void createpolicy_fractional_L2_evict_normal_b64(u64& d, double) { d = 2; }
inline void ld_global_nc_L1_no_allocate_L2_cache_hint_L2_128B_v4_u32(u32& x, u32& y, u32& z, u32& w, const void* from, u64) {
    uint4 v = __ldg((const uint4*)from);
    x = v.x, y = v.y, z = v.z, w = v.w;
}
template <class T> inline void load(T& d, u32 address) { d = emu::load_shared<T>(address); }
template <class T> inline void load(T& x, T& y, u32 address) {
    struct alignas(8) V { T x, y; } v = emu::load_shared<V>(address);
    x = v.x, y = v.y;
}
template <class T> inline void load(T& x, T& y, T& z, T& w, u32 address) {
    struct alignas(16) V { T x, y, z, w; } v = emu::load_shared<V>(address);
    x = v.x, y = v.y, z = v.z, w = v.w;
}
inline void ld_shared_u8(u32& d, u32 address) { d = emu::load_shared<unsigned char>(address); }
inline void ld_shared_s16(int& d, u32 address) { d = emu::load_shared<short>(address); }
inline void ld_shared_b32(u32& d, u32 address) { load(d, address); }
inline void ld_shared_u32(u32& d, u32 address) { load(d, address); }
inline void ld_shared_v2_b32(u32& x, u32& y, u32 address) { load(x, y, address); }
inline void ld_shared_v2_u32(u32& x, u32& y, u32 address) { load(x, y, address); }
inline void ld_shared_v4_b32(u32& x, u32& y, u32& z, u32& w, u32 address) { load(x, y, z, w, address); }
inline void ld_shared_v4_u32(u32& x, u32& y, u32& z, u32& w, u32 address) { load(x, y, z, w, address); }
inline void ld_shared_v4_s32(int& x, int& y, int& z, int& w, u32 address) { load(x, y, z, w, address); }
inline void st_shared_u8(u32 address, u32 v) { emu::store_shared<unsigned char>(address, v); }
inline void st_shared_v4_s32(u32 address, int x, int y, int z, int w) { emu::store_shared(address, int4{x, y, z, w}); }

// Matrices of 8 by 8 16-bit elements; lane 8 * i + r has the address of row r of the i-th.
template <int kCount> inline void move_matrices(u32 address, u32* const (&v)[kCount], bool load, bool transposed) {
    struct Argument { u32 address; u32* const* v; } argument{address, v};
    emu::meet(~0u, argument, [=](Argument** all) {
        for (int i = 0; i < kCount; i++)
            for (int r = 0; r < 8; r++) emu::shared_at(all[8 * i + r]->address, 16, "matrix row");
        for (int i = 0; i < kCount; i++)
            for (int l = 0; l < 32; l++)
                for (int e = 0; e < 2; e++) {
                    int row = transposed ? l % 4 * 2 + e : l / 4, column = transposed ? l / 4 : l % 4 * 2 + e;
                    u32 at = all[8 * i + row]->address + column * 2;
                    u32& d = *all[l]->v[i];
                    if (load) d = d & ~(0xFFFFu << 16 * e) | (u32)emu::load_shared<u16>(at) << 16 * e;
                    else emu::store_shared<u16>(at, d >> 16 * e);
                }
    });
}
inline void ldmatrix_sync_aligned_m8n8_x4_shared_b16(u32& a, u32& b, u32& c, u32& d, u32 address) { move_matrices<4>(address, {&a, &b, &c, &d}, true, false); }
inline void stmatrix_sync_aligned_m8n8_x2_trans_shared_b16(u32 address, u32 a, u32 b) { move_matrices<2>(address, {&a, &b}, false, true); }
inline void stmatrix_sync_aligned_m8n8_x4_trans_shared_b16(u32 address, u32 a, u32 b, u32 c, u32 d) { move_matrices<4>(address, {&a, &b, &c, &d}, false, true); }

// Asynchronous copies.
inline void cp_async_ca_shared_global(u32 to, const void* from, int bytes) { emu::async_copy(to, from, bytes, bytes); }
inline void cp_async_cg_shared_global_L2_128B(u32 to, const void* from, int bytes, int size) { emu::async_copy(to, from, bytes, size); }
inline void cp_async_cg_shared_global_L2_128B(u32 to, const void* from, int bytes) { emu::async_copy(to, from, bytes, bytes); }
inline void cp_async_commit_group() { emu::commit_copies(); }
inline void cp_async_wait_group(u32 pending) { emu::wait_for_copies(pending); }
inline void cp_async_mbarrier_arrive_noinc_shared_cta_b64(u32 barrier) { emu::arrive_when_copied(barrier); }
inline void cp_async_bulk_shared_cluster_global_mbarrier_complete_tx_bytes(u32 to, const void* from, u32 bytes, u32 barrier) { emu::bulk_copy(to, from, bytes, barrier); }
inline void cp_async_bulk_tensor_2d_shared_cluster_global_tile_mbarrier_complete_tx_bytes_L2_cache_hint(u32 to, const void* map, int x, int y, u32 barrier, u64 policy) {
    if (policy != 1 && policy != 2) emu::fail("no policy");
    emu::tensor_copy(to, map, x, y, barrier);
}
inline void st_async_shared_cluster_mbarrier_complete_tx_bytes_v4_s32(u32 to, int x, int y, int z, int w, u32 barrier) {
    int4 v{x, y, z, w};
    emu::store_async(to, &v, sizeof v, barrier);
}
inline void mapa_shared_cluster_u32(u32& d, u32 shared, u32 rank) {
    if (shared >> 24 || rank >= emu::cluster.size) emu::fail("mapa of %x to rank %u", shared, rank);
    d = shared | (rank + 1) << 24;
}

// Barriers.
inline void bar_sync(u32 barrier, u32 threads) { emu::barrier(barrier, threads); }
inline void barrier_cluster_arrive_relaxed() { emu::cluster_arrive(); }
inline void barrier_cluster_wait() { emu::cluster_wait(); }
inline void mbarrier_init_shared_cta_b64(u32 barrier, int arrivals) { emu::mbarrier_init(barrier, arrivals); }
inline void mbarrier_arrive_shared_cta_b64(u32 barrier) { emu::mbarrier_arrive(barrier, 0); }
inline void mbarrier_arrive_expect_tx_shared_cta_b64(u32 barrier, u32 bytes) { emu::mbarrier_arrive(barrier, bytes); }
inline void mbarrier_try_wait_parity_shared_cta_b64(bool& over, u32 barrier, u32 parity) { emu::mbarrier_wait(barrier, parity), over = true; }
inline void mbarrier_test_wait_parity_shared_cta_b64(bool& over, u32 barrier, u32 parity) { over = emu::mbarrier_test(barrier, parity); }
inline void griddepcontrol_wait() { emu::grid_wait(); }
// All lanes must come; any of them may be chosen.
inline void elect_sync(bool& elected, u32 lanes) {
    int none = 0;
    emu::meet(lanes, none, [](int**) {});
    elected = threadIdx.x % 32 == 5;
}

// Not emulated: the order of memory operations, registers.
inline void griddepcontrol_launch_dependents() {}
inline void fence_mbarrier_init_release_cluster() {}
inline void setmaxnreg_dec_sync_aligned_u32(int) {}
inline void setmaxnreg_inc_sync_aligned_u32(int) {}

// Products.
inline void mma_sync_aligned_m16n8k32_row_col_s32_s8_s8_s32(int& d0, int& d1, int& d2, int& d3, u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1, int c0, int c1, int c2, int c3) {
    struct Argument { int d[4]; u32 a[4], b[2]; } argument{{c0, c1, c2, c3}, {a0, a1, a2, a3}, {b0, b1}};
    emu::meet(~0u, argument, [](Argument** all) {
        signed char a[16][32], b[8][32];
        for (int l = 0; l < 32; l++)
            for (int i = 0; i < 4; i++) {
                memcpy(&a[l / 4 + i % 2 * 8][i / 2 * 16 + l % 4 * 4], &all[l]->a[i], 4);
                if (i < 2) memcpy(&b[l / 4][i * 16 + l % 4 * 4], &all[l]->b[i], 4);
            }
        for (int l = 0; l < 32; l++)
            for (int i = 0; i < 4; i++)
                for (int k = 0; k < 32; k++) all[l]->d[i] += a[l / 4 + i / 2 * 8][k] * b[l % 4 * 2 + i % 2][k];
    });
    d0 = argument.d[0], d1 = argument.d[1], d2 = argument.d[2], d3 = argument.d[3];
}
inline void wgmma_fence_sync_aligned() {}
inline void wgmma_commit_group_sync_aligned() { int none = 0; emu::meet(~0u, none, [](int**) { emu::product_commit(); }); }
inline void wgmma_wait_group_sync_aligned(u32 pending) { int none = 0; emu::meet(~0u, none, [=](int**) { emu::product_wait(pending); }); }
// Registers: kTokens / 2 of d, four of a; b's descriptor and whether to accumulate. Products in flight know d and a by their address.
template <int kTokens, class... Operands> inline void wgmma(const Operands&... operands) {
    constexpr int kSums = kTokens / 2;
    auto all = std::tie(operands...);
    const void* addresses[] = {&operands...};
    struct Argument {
        int* d;
        const u32* a;
        u64 b;
        bool accumulate;
    } argument{const_cast<int*>(&std::get<0>(all)), &std::get<kSums>(all), std::get<kSums + 4>(all), std::get<kSums + 5>(all)};
    if (argument.b >> 32 != (1024 >> 4 | 1 << 30)) emu::fail("wgmma: descriptor %llx", argument.b);
    for (int i = 0; i < kSums + 4; i++)
        if (addresses[i] != (i < kSums ? (const void*)(argument.d + i) : argument.a + (i - kSums))) emu::fail("wgmma: registers apart");
    emu::meet(~0u, argument, [](Argument** all) {
        emu::Product product{kTokens, {}, {}, (u32)all[0]->b, all[0]->accumulate};
        for (int l = 0; l < 32; l++) {
            if (all[l]->b != all[0]->b || all[l]->accumulate != all[0]->accumulate) emu::fail("wgmma: lanes differ");
            product.d[l] = all[l]->d, product.a[l] = all[l]->a;
        }
        emu::product_issue(product);
    });
}
template <class... Operands> inline void wgmma_mma_async_sync_aligned_m64n8k32_s32_s8_s8(const Operands&... operands) { wgmma<8>(operands...); }
template <class... Operands> inline void wgmma_mma_async_sync_aligned_m64n16k32_s32_s8_s8(const Operands&... operands) { wgmma<16>(operands...); }
template <class... Operands> inline void wgmma_mma_async_sync_aligned_m64n32k32_s32_s8_s8(const Operands&... operands) { wgmma<32>(operands...); }
template <class... Operands> inline void wgmma_mma_async_sync_aligned_m64n64k32_s32_s8_s8(const Operands&... operands) { wgmma<64>(operands...); }
template <class... Operands> inline void wgmma_mma_async_sync_aligned_m64n128k32_s32_s8_s8(const Operands&... operands) { wgmma<128>(operands...); }
template <class... Operands> inline void wgmma_mma_async_sync_aligned_m64n256k32_s32_s8_s8(const Operands&... operands) { wgmma<256>(operands...); }
}  // namespace ptx
