// The end of a tile of tensor-core products: int32 sums in the order of the accumulators become Y.
//
// Element e of a lane (row g, thread t of four) is channel g + e % 4 / 2 * 8 of its warp's 16 and token e / 4 * 8 + 2t + e % 2.
#pragma once
#include "unpack.cuh"

// sums as Y's floats; sums of 16 * q are divided again, exactly.
template <Fold kFold>
__device__ __forceinline__ float finish_value(int acc, float a_scale, float channel_scale) {
    if constexpr (kFold == Fold::kInteger1 || kFold == Fold::kScaled) return rescale(acc, a_scale, channel_scale);
    else if constexpr (kFold == Fold::kInteger16) return rescale(acc >> 4, a_scale, channel_scale);
    else return __int_as_float(acc) * (1.0f / 16) * (a_scale * channel_scale);
}

// Two values as 16 bits each, the first in the lower half.
template <bool kHalf>
__device__ __forceinline__ u32 pack_two(float a, float b) {
    u32 pair;
    if constexpr (kHalf) asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(b), "f"(a));
    else asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(b), "f"(a));
    return pair;
}

// Of a type that is known at run time only, without a branch.
__device__ __forceinline__ u32 pack_two(float a, float b, bool half) {
    u32 halves = pack_two<true>(a, b), bfloats = pack_two<false>(a, b);
    return half ? halves : bfloats;
}

// Partial sums; the twin's are floats.
template <Fold kFold>
__device__ __forceinline__ int add(int a, int b) {
    if constexpr (kFold == Fold::kFloat16) return __float_as_int(__int_as_float(a) + __int_as_float(b));
    else return a + b;
}

// What a lane needs of its two channels, n and n + 8.
struct Channels {
    float scale[2], bias[2];
    bool has_bias;
};

// Four elements of a lane, of tokens whose a_scales are the first two at `a_scales`.
template <Fold kFold>
__device__ __forceinline__ void finish_four(const Channels& channels, const float* a_scales, const int* acc, float (&y)[4]) {
    float2 scales = *reinterpret_cast<const float2*>(a_scales);
#pragma unroll
    for (int e = 0; e < 4; e++) y[e] = finish_value<kFold>(acc[e], e % 2 ? scales.y : scales.x, channels.scale[e / 2]);
    if (!channels.has_bias) return;
#pragma unroll
    for (int e = 0; e < 4; e++) y[e] = __fadd_rn(y[e], channels.bias[e / 2]);
}

// Stores them one by one: float Y, of which eight channels are a whole sector.
__device__ __forceinline__ void store_four(const Params& p, int n, int m, const float (&y)[4]) {
#pragma unroll
    for (int e = 0; e < 4; e++)
        if (m + e % 2 < p.m && n + e / 2 * 8 < p.n) static_cast<float*>(p.y)[(long long)(m + e % 2) * p.n + n + e / 2 * 8] = y[e];
}

// A warpgroup's [tokens, 64 channels] of 16 bits on its way through shared memory, so that whole lines are stored.
constexpr int kStagePitch = 144;  // bytes of a token: an odd number of 16 bytes, so that eight tokens' lie in different banks

// Where a lane says that its row of up to four 8x8 matrices lies: channels 0 and 8 of its warp's of eight tokens, then of the next eight.
__device__ __forceinline__ u32 staging_row(u32 staging) {
    int lane = threadIdx.x % 32;
    return staging + (lane / 16 * 8 + lane % 8) * kStagePitch + (threadIdx.x % 128 / 32 * 16 + lane / 8 % 2 * 8) * 2;
}

// Eight tokens by 16 channels of a warp, transposed: [token][channel]. Lanes 0 to 15 say where (staging_row).
__device__ __forceinline__ void stage_eight(u32 row, u32 first, u32 second) {
    asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(row), "r"(first), "r"(second) : "memory");
}

// Sixteen tokens.
__device__ __forceinline__ void stage_sixteen(u32 row, const u32 (&v)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row), "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3]) : "memory");
}

// Stores `count` staged tokens, the i-th of which is token_of(i), from channel n0 on; by a warpgroup.
template <class TokenOf>
__device__ __forceinline__ void store_staged(const Params& p, const u8* staging, int count, int n0, TokenOf token_of) {
    int chunk = threadIdx.x % 8, n = n0 + chunk * 8;
    u16* y = static_cast<u16*>(p.y) + n;
    const u8* from = staging + chunk * 16;
    if (n >= p.n) return;
    bool whole = p.n % 8 == 0 && reinterpret_cast<u64>(p.y) % 16 == 0;
#pragma unroll 4
    for (int i = threadIdx.x % 128 / 8; i < count; i += 16) {
        int m = token_of(i);
        if (m >= p.m) continue;
        if (whole) *reinterpret_cast<uint4*>(y + (long long)m * p.n) = *reinterpret_cast<const uint4*>(from + i * kStagePitch);
        else
#pragma unroll 1
            for (int c = 0; c < 8 && n + c < p.n; c++) y[(long long)m * p.n + c] = reinterpret_cast<const u16*>(from + i * kStagePitch)[c];
    }
}
