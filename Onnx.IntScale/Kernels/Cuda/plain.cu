// Any shape: 4 or 8 bits, any block, zero points, any N and K. A warp a channel and eight tokens at a time, dp4a.
//
// What no other kernel takes comes here, so it assumes the least: a lane reads 8 bytes of codes, which never cross a block (the
// smallest is 16 codes of 4 bits), and a8 lies in rows, zero padded to whole stages.
#include "order.cuh"

namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
constexpr int kTokens = 8;

// Codes of one 8-byte load as signed bytes in the order of k, four a word, and what is still to be added for the zero point:
// each product's sum grows by `offset` times the sum of the activations.
template <int kBits>
struct Codes {
    static constexpr int kWords = kBits == 4 ? 4 : 2;
    static constexpr int kCount = kWords * 4;
    u32 words[kWords];
    int offset;
};

template <int kBits>
__device__ __forceinline__ Codes<kBits> load_codes(const Params& p, const u8* row, const u8* zero_points, int unit, int block) {
    uint2 raw = __ldg(reinterpret_cast<const uint2*>(row) + unit);
    Codes<kBits> codes;
    if constexpr (kBits == 4) {
        u32 zero = zero_points == nullptr ? 8 : block % 2 ? __ldg(zero_points + block / 2) >> 4 : __ldg(zero_points + block / 2) & 15;
        u32 halves[2] = {raw.x, raw.y};
#pragma unroll
        for (int i = 0; i < 2; i++) {
            // code + (128 - zero) keeps to its byte; the upper bit then makes it code - zero, signed.
            u32 even = ((halves[i] & 0x0F0F0F0F) + (128 - zero) * 0x01010101) ^ 0x80808080;
            u32 odd = ((halves[i] >> 4 & 0x0F0F0F0F) + (128 - zero) * 0x01010101) ^ 0x80808080;
            codes.words[2 * i] = __byte_perm(even, odd, 0x5140);
            codes.words[2 * i + 1] = __byte_perm(even, odd, 0x7362);
        }
        codes.offset = 0;
    } else {
        // code - zero needs nine bits; code - 128 eight.
        codes.words[0] = raw.x ^ 0x80808080, codes.words[1] = raw.y ^ 0x80808080;
        codes.offset = zero_points == nullptr ? 0 : 128 - (int)__ldg(zero_points + block);
    }
    return codes;
}

template <int kBits>
__device__ __forceinline__ int multiply(const Codes<kBits>& codes, const i8* a8) {
    u32 a[Codes<kBits>::kWords];
    if constexpr (kBits == 4) {
        uint4 v = *reinterpret_cast<const uint4*>(a8);
        a[0] = v.x, a[1] = v.y, a[2] = v.z, a[3] = v.w;
    } else {
        uint2 v = *reinterpret_cast<const uint2*>(a8);
        a[0] = v.x, a[1] = v.y;
    }
    int dot = 0, sum = 0;
#pragma unroll
    for (int i = 0; i < Codes<kBits>::kWords; i++) {
        dot = __dp4a((int)codes.words[i], (int)a[i], dot);
        if constexpr (kBits == 8) sum = __dp4a((int)a[i], 0x01010101, sum);
    }
    return dot + codes.offset * sum;
}

// Channel n of Y for tokens [first, first + kTile); those past M repeat the last one and are dropped.
template <int kType, int kBits, int kTile>
__device__ __forceinline__ void channel(const Params& p, int n, int first) {
    int units = (p.k + Codes<kBits>::kCount - 1) / Codes<kBits>::kCount;
    int log_units_per_block = __ffs(p.block_size / Codes<kBits>::kCount) - 1;
    const u8* row = p.b + (long long)n * p.k_blocks * (p.block_size * kBits / 8);
    const u8* zero_points = p.zero_points == nullptr ? nullptr : p.zero_points + (long long)n * ((p.k_blocks * kBits + 7) / 8);
    const i16* scales = p.scales + (long long)n * p.k_blocks;
    long long a8_stride = (long long)(p.k + kStage - 1) / kStage * kStage;
    const i8* a8 = p.a8 + first * a8_stride;
    int last = p.m - 1 - first;

    int acc[kTile] = {};
#pragma unroll 2
    for (int unit = threadIdx.x % 32; unit < units; unit += 32) {
        int block = unit >> log_units_per_block;
        Codes<kBits> codes = load_codes<kBits>(p, row, zero_points, unit, block);
        int scale = __ldg(scales + block);
#pragma unroll
        for (int t = 0; t < kTile; t++) acc[t] += scale * multiply<kBits>(codes, a8 + min(t, last) * a8_stride + unit * Codes<kBits>::kCount);
    }

    int mine = 0;
#pragma unroll
    for (int t = 0; t < kTile; t++) {
        int sum = __reduce_add_sync(~0u, acc[t]);
        if (threadIdx.x % 32 == t) mine = sum;
    }
    int m = first + threadIdx.x % 32;
    if (threadIdx.x % 32 >= kTile || m >= p.m) return;
    float y = rescale(mine, p.a_scales[m], p.channel_scales[n]);
    if (p.bias != nullptr) y = __fadd_rn(y, load_element(p.bias, kType, n));
    store_element(p.y, kType, (long long)m * p.n + n, y);
}

// Grid: x over groups of kWarps channels, y over tiles of kTokens tokens (any number of blocks along either).
template <int kType>
__device__ __forceinline__ void plain(const Params& p) {
    let_next_kernel_start();
    wait_for_previous_kernel();
    for (int first = blockIdx.y * kTokens; first < p.m; first += gridDim.y * kTokens)
        for (int n = blockIdx.x * kWarps + threadIdx.x / 32; n < p.n; n += gridDim.x * kWarps) {
            if (p.bits == 8) channel<kType, 8, kTokens>(p, n, first);
            else if (p.m == 1) channel<kType, 4, 1>(p, n, first);
            else channel<kType, 4, kTokens>(p, n, first);
        }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads) plain_float(const __grid_constant__ Params p) { plain<kFloat>(p); }
extern "C" __global__ void __launch_bounds__(kThreads) plain_float16(const __grid_constant__ Params p) { plain<kFloat16>(p); }
extern "C" __global__ void __launch_bounds__(kThreads) plain_bfloat16(const __grid_constant__ Params p) { plain<kBFloat16>(p); }
