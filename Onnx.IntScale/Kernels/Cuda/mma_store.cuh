// From int32 sums in shared memory to Y.
#pragma once
#include "mma_ptx.cuh"

// A tile's sums lie [token][channel]. Four ints more than the channels: then the 32 lanes of a fragment, which write channel g of
// tokens 2t, fall into different banks.
template <int kChannels>
constexpr int kSumStride = kChannels + 4;

// Y of a tile: adds the parts, shifts, scales, adds the bias. Four neighbouring channels a thread, so that stores are coalesced;
// they are one store when rows of Y are aligned to it.
template <int kTokens, int kChannels, int kParts, int kShift, int kThreads>
__device__ __forceinline__ void store_tile(const Params& p, const int* sums, int first_token, int first_channel) {
    constexpr int kQuads = kChannels / 4;
    bool whole = p.n % 4 == 0 && reinterpret_cast<u64>(p.y) % 16 == 0;
    int quad = threadIdx.x % kQuads, n = first_channel + quad * 4;
    int count = min(4, p.n - n);
    if (count <= 0) return;

    float channel_scales[4], bias[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int clamped = n + min(i, count - 1);
        channel_scales[i] = __ldg(p.channel_scales + clamped);
        bias[i] = p.bias != nullptr ? load_element(p.bias, p.type, clamped) : 0.0f;
    }

    for (int token = threadIdx.x / kQuads; token < kTokens && first_token + token < p.m; token += kThreads / kQuads) {
        int4 sum = make_int4(0, 0, 0, 0);
#pragma unroll
        for (int part = 0; part < kParts; part++) {
            int4 v = *reinterpret_cast<const int4*>(sums + (part * kTokens + token) * kSumStride<kChannels> + quad * 4);
            sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
        }
        int acc[4] = {sum.x, sum.y, sum.z, sum.w};
        float a_scale = p.a_scales[first_token + token];
        float y[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            y[i] = rescale(acc[i] >> kShift, a_scale, channel_scales[i]);
            if (p.bias != nullptr) y[i] = __fadd_rn(y[i], bias[i]);
        }
        long long at = (long long)(first_token + token) * p.n + n;
        if (whole && p.type == kFloat) {
            *reinterpret_cast<float4*>(static_cast<float*>(p.y) + at) = make_float4(y[0], y[1], y[2], y[3]);
        } else if (whole) {
            u32 low = narrow(y[0], p.type) | (u32)narrow(y[1], p.type) << 16, high = narrow(y[2], p.type) | (u32)narrow(y[3], p.type) << 16;
            *reinterpret_cast<uint2*>(static_cast<u16*>(p.y) + at) = make_uint2(low, high);
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (i < count) store_element(p.y, p.type, at + i, y[i]);
        }
    }
}
