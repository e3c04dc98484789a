// The end of a tile, by the warpgroups that multiply: sums become Y.
#pragma once
#include "wgmma_tile.cuh"

// Stages sixteen tokens of a lane, groups j and j + 1 of eight; pack(a, b) makes 16 bits of each.
template <class T, class Pack>
__device__ __forceinline__ void stage_groups(const Channels& channels, const float* a_scales, const Sums<T>& acc, int j, u32 row, Pack pack) {
    u32 pairs[4];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float y[4];
        finish_four<T::kFold>(channels, a_scales + (j + i) * 8, acc + 4 * (j + i), y);
        pairs[2 * i] = pack(y[0], y[1]), pairs[2 * i + 1] = pack(y[2], y[3]);
    }
    stage_sixteen(row, pairs);
}

// A warpgroup's part of a whole tile of one type without bias, which is the usual one: nothing to ask for each element or line.
template <class T, bool kHalf>
__device__ __forceinline__ void finish_usual(const Params& p, const Channels& channels, const float* a_scales, const Sums<T>& acc, u32 row, const u8* staging, int token0, int n0) {
    constexpr int kAtOnce = T::kStagedTokens / 8;
    int i = threadIdx.x % 128 / 8, chunk = threadIdx.x % 8;
    const u8* from = staging + i * kStagePitch + chunk * 16;
    u8* y = static_cast<u8*>(p.y) + ((long long)(token0 + i) * p.n + n0 + chunk * 8) * 2;
    long long sixteen_rows = 32ll * p.n;
#pragma unroll
    for (int first = 0; first < T::kOwnTokens / 8; first += kAtOnce) {
        if (first > 0) warpgroup_barrier();
#pragma unroll
        for (int j = first; j < first + kAtOnce; j += 2) stage_groups<T>(channels, a_scales, acc, j, row + (j - first) * 8 * kStagePitch, [](float a, float b) { return pack_two<kHalf>(a, b); });
        warpgroup_barrier();
#pragma unroll
        for (int line = 0; line < kAtOnce / 2; line++, y += sixteen_rows) *reinterpret_cast<uint4*>(y) = *reinterpret_cast<const uint4*>(from + line * 16 * kStagePitch);
    }
}

// A thread block's tile number `done`.
template <class T>
__device__ __forceinline__ void finish(const Params& p, const Work& work, u8* shared, const Barriers<T>& barriers, const Sums<T>& acc, u32 done) {
    constexpr int kEights = T::kOwnTokens / 8, kAtOnce = T::kStagedTokens / 8;  // groups of eight tokens, and how many are staged together
    u32 slot = done % 2;
    wait_for_phase(barriers.factors_full(slot), done / 2 & 1);
    const Factors<T>& factors = Factors<T>::at(shared, slot);
    int group = threadIdx.x / 128, r = row_of_thread<T>(), row0 = work.row0<T>(), own0 = own_token0<T>(), token0 = work.token0<T>() + own0, n0 = row0 + (T::kPartners == 1 ? group * 64 : 0);
    Channels channels = {{factors.channel_scales[r], factors.channel_scales[r + 8]}, {factors.bias[r], factors.bias[r + 8]}, p.bias != nullptr}, unbiased = channels;
    unbiased.has_bias = false;
    const float* a_scales = factors.a_scales + own0 + threadIdx.x % 4 * 2;
    u8* staging = shared + T::kStagingAt + group * T::kStagingBytes;
    u32 row = staging_row(shared_address(staging));
    bool half = p.type == kFloat16;

    bool usual = p.bias == nullptr && p.type != kFloat && token0 + T::kOwnTokens <= p.m && n0 + 64 <= p.n && p.n % 8 == 0 && reinterpret_cast<u64>(p.y) % 16 == 0;
    if (usual && half) finish_usual<T, true>(p, unbiased, a_scales, acc, row, staging, token0, n0);
    else if (usual) finish_usual<T, false>(p, unbiased, a_scales, acc, row, staging, token0, n0);
    else if (p.type == kFloat) {
        int n = row0 + r, m = token0 + threadIdx.x % 4 * 2;
        float y[4];
#pragma unroll
        for (int j = 0; j < kEights; j++) {
            finish_four<T::kFold>(channels, a_scales + j * 8, acc + 4 * j, y);
            store_four(p, n, m + j * 8, y);
        }
    } else {
#pragma unroll
        for (int first = 0; first < kEights; first += kAtOnce) {
            if (token0 + first * 8 >= p.m) break;
            if (first > 0) warpgroup_barrier();
#pragma unroll
            for (int j = first; j < first + kAtOnce; j += 2) stage_groups<T>(channels, a_scales, acc, j, row + (j - first) * 8 * kStagePitch, [&](float a, float b) { return pack_two(a, b, half); });
            warpgroup_barrier();
            store_staged(p, staging, T::kStagedTokens, n0, [&](int i) { return token0 + first * 8 + i; });
        }
    }
    arrive(barriers.factors_empty(slot));
    warpgroup_barrier();  // staging is free again
}
