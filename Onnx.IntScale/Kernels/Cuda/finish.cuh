// The end of a tile of tensor-core products: int32 sums in the order of the accumulators become Y.
//
// Element e of a lane (row g, thread t of four) is channel g + e % 4 / 2 * 8 of its warp's 16 and token e / 4 * 8 + 2t + e % 2.
#pragma once
#include "unpack.cuh"

// sums as Y's floats; sums of 16 * q are divided again, exactly.
template <Fold kFold>
__device__ __forceinline__ float finish_value(int acc, float a_scale, float channel_scale) {
    if constexpr (kFold == Fold::kInteger1) return rescale(acc, a_scale, channel_scale);
    else if constexpr (kFold == Fold::kInteger16) return rescale(acc >> 4, a_scale, channel_scale);
    else return __int_as_float(acc) * (1.0f / 16) * (a_scale * channel_scale);
}

// Partial sums; the twin's are floats.
template <Fold kFold>
__device__ __forceinline__ int add(int a, int b) {
    if constexpr (kFold == Fold::kFloat16) return __float_as_int(__int_as_float(a) + __int_as_float(b));
    else return a + b;
}

// What a lane needs of its two channels.
struct Channels {
    int n;  // the first; the second is n + 8
    float scale[2], bias[2];

    __device__ __forceinline__ Channels(const Params& p, int n) : n(n) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            bool inside = n + i * 8 < p.n;
            scale[i] = inside ? __ldg(p.channel_scales + n + i * 8) : 0.0f;
            bias[i] = inside && p.bias != nullptr ? load_element(p.bias, p.type, n + i * 8) : 0.0f;
        }
    }
};

// Four elements of a lane, of tokens whose a_scales are the first two at `a_scales`.
template <Fold kFold>
__device__ __forceinline__ void finish_four(const Params& p, const Channels& channels, const float* a_scales, const int* acc, float (&y)[4]) {
    float2 scales = *reinterpret_cast<const float2*>(a_scales);
#pragma unroll
    for (int e = 0; e < 4; e++) {
        y[e] = finish_value<kFold>(acc[e], e % 2 ? scales.y : scales.x, channels.scale[e / 2]);
        if (p.bias != nullptr) y[e] = __fadd_rn(y[e], channels.bias[e / 2]);
    }
}

// Stores them one by one.
__device__ __forceinline__ void store_four(const Params& p, int n, int m, const float (&y)[4]) {
#pragma unroll
    for (int e = 0; e < 4; e++)
        if (m + e % 2 < p.m && n + e / 2 * 8 < p.n) store_element(p.y, p.type, (long long)(m + e % 2) * p.n + n + e / 2 * 8, y[e]);
}

// A warpgroup's [tokens, 64 channels] of 16 bits on its way through shared memory, so that whole lines are stored.
constexpr int kStagePitch = 144;  // bytes of a token: stores of a warp meet each bank once, and loads are 16 bytes

__device__ __forceinline__ void stage_four(u8* staging, int type, int channel, int token, const float (&y)[4]) {
#pragma unroll
    for (int e = 0; e < 4; e++) *reinterpret_cast<u16*>(staging + (token + e % 2) * kStagePitch + (channel + e / 2 * 8) * 2) = narrow(y[e], type);
}

template <int kTokens>
__device__ __forceinline__ void store_staged(const Params& p, const u8* staging, int m0, int n0) {
    int chunk = threadIdx.x % 8, n = n0 + chunk * 8;
    u16* y = static_cast<u16*>(p.y);
#pragma unroll 4
    for (int token = threadIdx.x % 128 / 8; token < kTokens; token += 16) {
        if (m0 + token >= p.m) break;
        const u8* from = staging + token * kStagePitch + chunk * 16;
        long long at = (long long)(m0 + token) * p.n + n;
        if (p.n % 8 == 0 && n < p.n) *reinterpret_cast<uint4*>(y + at) = *reinterpret_cast<const uint4*>(from);
        else
            for (int i = 0; i < 8 && n + i < p.n; i++) y[at + i] = reinterpret_cast<const u16*>(from)[i];
    }
}
