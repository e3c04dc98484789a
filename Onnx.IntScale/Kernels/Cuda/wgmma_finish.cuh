// The end of a tile, by the warpgroups that multiply: sums of all slices of K become Y.
#pragma once
#include "wgmma_tile.cuh"

// Adds the partial sums of a cluster's slices of K. Groups of eight tokens are dealt to the slices, and each slice gets all sums of its
// groups, in the order of the accumulators: [its groups][slice they come from][warpgroup][thread][4].
template <class T>
struct PartialSums {
    static constexpr int kEights = T::kTokens / 8, kBytes = 128 * 16;

    u32 shared, slices, slice;

    __device__ __forceinline__ u32 at(u32 round, u32 from) const {
        return shared + ((round * slices + from) * T::kRowGroups + threadIdx.x / 128) * kBytes + threadIdx.x % 128 * 16;
    }

    // How many groups are this slice's: slice, slice + slices, ... All, where there is one slice.
    __device__ __forceinline__ u32 rounds() const { return (kEights - slice + slices - 1) / slices; }

    // Sends the others theirs, keeps its own, and waits for what the others send.
    __device__ __forceinline__ void exchange(u32 barrier, const Accumulator<T>& acc) const {
        // Everybody is done with the stages, whose memory this takes.
        consumer_barrier<T>();
        if (threadIdx.x == 0) arrive_expecting(barrier, rounds() * (slices - 1) * T::kRowGroups * kBytes);
        arrive_at_cluster();
        wait_for_cluster();
        u32 to = 0, round = 0;
#pragma unroll
        for (int j = 0; j < kEights; j++) {
            int4 v = make_int4(acc[4 * j], acc[4 * j + 1], acc[4 * j + 2], acc[4 * j + 3]);
            if (to == slice) store_shared(at(round, slice), v);  // read by this thread again
            else store_cluster(address_at(at(round, slice), to), v, address_at(barrier, to));
            if (++to == slices) to = 0, round++;
        }
        wait_for_phase(barrier, 0);
    }

    __device__ __forceinline__ void total(u32 round, int (&sum)[4]) const {
#pragma unroll
        for (int e = 0; e < 4; e++) sum[e] = 0;
#pragma unroll 4
        for (u32 from = 0; from < slices; from++) {
            int4 v;
            asm volatile("ld.shared.v4.s32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(at(round, from)) : "memory");
            sum[0] = add<T::kFold>(sum[0], v.x), sum[1] = add<T::kFold>(sum[1], v.y);
            sum[2] = add<T::kFold>(sum[2], v.z), sum[3] = add<T::kFold>(sum[3], v.w);
        }
    }
};

// Stages sixteen tokens of a lane, groups j and j + 1 of eight; pack(a, b) makes 16 bits of each.
template <class T, class Pack>
__device__ __forceinline__ void stage_groups(const Channels& channels, const float* a_scales, const Accumulator<T>& acc, int j, u32 row, Pack pack) {
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
__device__ __forceinline__ void finish_usual(const Params& p, const Channels& channels, const float* a_scales, const Accumulator<T>& acc, u32 row, const u8* staging, int token0, int n0) {
    constexpr int kAtOnce = T::kStagedTokens / 8;
    int i = threadIdx.x % 128 / 8, chunk = threadIdx.x % 8;
    const u8* from = staging + i * kStagePitch + chunk * 16;
    u8* y = static_cast<u8*>(p.y) + ((long long)(token0 + i) * p.n + n0 + chunk * 8) * 2;
    long long sixteen_rows = 32ll * p.n;
#pragma unroll
    for (int first = 0; first < T::kTokens / 8; first += kAtOnce) {
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
__device__ __forceinline__ void finish(const Params& p, const Work& work, u8* shared, const Barriers<T>& barriers, const Accumulator<T>& acc, u32 done) {
    constexpr int kEights = T::kTokens / 8, kAtOnce = T::kStagedTokens / 8;  // groups of eight tokens, and how many are staged together
    PartialSums<T> sums{shared_address(shared), work.slices, work.slice};
    if (work.slices > 1) sums.exchange(barriers.sums(), acc);
    u32 slot = done % 2;
    wait_for_phase(barriers.factors_full(slot), done / 2 & 1);
    const Factors<T>& factors = Factors<T>::at(shared, slot);
    int group = threadIdx.x / 128, r = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, row0 = work.row0<T>(), token0 = work.token0<T>(), n0 = row0 + group * 64;
    Channels channels = {{factors.channel_scales[r], factors.channel_scales[r + 8]}, {factors.bias[r], factors.bias[r + 8]}, p.bias != nullptr}, unbiased = channels;
    unbiased.has_bias = false;
    const float* a_scales = factors.a_scales + threadIdx.x % 4 * 2;
    u8* staging = shared + (work.slices == 1 ? T::kStagingAt + group * T::kStagingBytes : T::kSplitStagingAt + group * T::kSplitStagingBytes);
    u32 row = staging_row(shared_address(staging));
    bool half = p.type == kFloat16;
    float y[4];

    bool usual = work.slices == 1 && p.bias == nullptr && p.type != kFloat && token0 + T::kTokens <= p.m && n0 + 64 <= p.n && p.n % 8 == 0 && reinterpret_cast<u64>(p.y) % 16 == 0;
    if (usual && half) finish_usual<T, true>(p, unbiased, a_scales, acc, row, staging, token0, n0);
    else if (usual) finish_usual<T, false>(p, unbiased, a_scales, acc, row, staging, token0, n0);
    else if (p.type == kFloat) {
        int n = row0 + r, m = token0 + threadIdx.x % 4 * 2;
        if (work.slices == 1) {
#pragma unroll
            for (int j = 0; j < kEights; j++) {
                finish_four<T::kFold>(channels, a_scales + j * 8, acc + 4 * j, y);
                store_four(p, n, m + j * 8, y);
            }
        } else {
#pragma unroll 1
            for (u32 j = work.slice, round = 0; j < kEights; j += work.slices, round++) {
                int sum[4];
                sums.total(round, sum);
                finish_four<T::kFold>(channels, a_scales + j * 8, sum, y);
                store_four(p, n, m + j * 8, y);
            }
        }
    } else if (work.slices == 1) {
#pragma unroll
        for (int first = 0; first < kEights; first += kAtOnce) {
            if (token0 + first * 8 >= p.m) break;
            if (first > 0) warpgroup_barrier();
#pragma unroll
            for (int j = first; j < first + kAtOnce; j += 2) stage_groups<T>(channels, a_scales, acc, j, row + (j - first) * 8 * kStagePitch, [&](float a, float b) { return pack_two(a, b, half); });
            warpgroup_barrier();
            store_staged(p, staging, T::kStagedTokens, n0, [&](int i) { return token0 + first * 8 + i; });
        }
    } else {
        u32 rounds = sums.rounds();
#pragma unroll 1
        for (u32 round = 0; round < rounds; round++) {
            int sum[4];
            sums.total(round, sum);
            finish_four<T::kFold>(channels, a_scales + (work.slice + round * work.slices) * 8, sum, y);
            stage_eight(row + round * 8 * kStagePitch, pack_two(y[0], y[1], half), pack_two(y[2], y[3], half));
        }
        warpgroup_barrier();
        store_staged(p, staging, rounds * 8, n0, [&](int i) { return token0 + (int)(work.slice + i / 8 * work.slices) * 8 + i % 8; });
    }
    arrive(barriers.factors_empty(slot));
    warpgroup_barrier();  // staging is free again
}
