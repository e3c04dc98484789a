// The end of a tile whose K the thread blocks of a cluster divide: each adds up all sums of a part of the tokens, and stores those. This is
// most of what a small product takes besides reading its codes, so how many slices there are is no question at run time.
#pragma once
#include "wgmma_partners.cuh"

// Groups of eight tokens are dealt to the slices. Each gets all sums of its groups, in the order of the accumulators:
// [its groups][slice they come from][warpgroup][thread][4].
template <class T, int kSlices>
struct SliceSums {
    static constexpr int kEights = T::kOwnTokens / 8, kBytes = 128 * 16 * 2;
    static constexpr int kRounds = (kEights + kSlices - 1) / kSlices;  // groups of a slice, at most

    u32 shared, slice;  // where this thread's lie

    __device__ __forceinline__ SliceSums(u8* memory, u32 slice_) : shared(shared_address(memory) + threadIdx.x * 16), slice(slice_) {}

    __device__ __forceinline__ bool any(int round) const { return round + 1 < kRounds || round * kSlices + (int)slice < kEights; }

    // Sends the others theirs and keeps its own.
    __device__ __forceinline__ void send(u32 barrier, const Sums<T>& acc) const {
        u32 mine = shared + slice * kBytes;
#pragma unroll
        for (int to = 0; to < kSlices; to++) {
            u32 there = address_at(mine, to), barrier_there = address_at(barrier, to);
#pragma unroll
            for (int round = 0; round < kRounds; round++) {
                int j = round * kSlices + to;
                if (j >= kEights) break;
                int4 v = make_int4(acc[4 * j], acc[4 * j + 1], acc[4 * j + 2], acc[4 * j + 3]);
                if (to == (int)slice) store_shared(mine + round * kSlices * kBytes, v);  // read by this thread again
                else store_cluster(there + round * kSlices * kBytes, v, barrier_there);
            }
        }
    }

    __device__ __forceinline__ void total(int round, int (&sum)[4]) const {
#pragma unroll
        for (int e = 0; e < 4; e++) sum[e] = 0;
#pragma unroll
        for (int from = 0; from < kSlices; from++) {
            int4 v = load_shared(shared + (round * kSlices + from) * kBytes);
            sum[0] = add<T::kFold>(sum[0], v.x), sum[1] = add<T::kFold>(sum[1], v.y);
            sum[2] = add<T::kFold>(sum[2], v.z), sum[3] = add<T::kFold>(sum[3], v.w);
        }
    }
};

template <class T, int kSlices>
__device__ __forceinline__ void finish_slices(const Params& p, const Work& work, u8* shared, const Barriers<T>& barriers, const Accumulator<T>& acc) {
    using Exchange = SliceSums<T, kSlices>;
    Exchange sums(shared, work.slice);
    int groups = Exchange::kEights / kSlices + ((int)work.slice < Exchange::kEights % kSlices);
    if (threadIdx.x == 0) arrive_expecting(barriers.sums(), groups * (kSlices - 1) * Exchange::kBytes);
    arrive_at_cluster();  // done with the stages, whose memory partial sums take in all thread blocks
    Sums<T> own;
    add_partners<T>(shared, acc, own);
    wait_for_phase(barriers.factors_full(0), 0);
    const Factors<T>& factors = Factors<T>::at(shared, 0);
    int lane = threadIdx.x % 32, r = row_of_thread<T>(), row0 = work.row0<T>(), own0 = own_token0<T>(), token0 = work.token0<T>() + own0 + (int)work.slice * 8;
    Channels channels = {{factors.channel_scales[r], factors.channel_scales[r + 8]}, {factors.bias[r], factors.bias[r + 8]}, p.bias != nullptr};
    const float* a_scales = factors.a_scales + own0 + work.slice * 8 + lane % 4 * 2;
    u8* staging = shared + T::kSplitStagingAt + threadIdx.x / 128 * T::kSplitStagingBytes;
    u32 row = staging_row(shared_address(staging));
    bool half = p.type == kFloat16;
    wait_for_cluster();
    sums.send(barriers.sums(), own);
    wait_for_phase(barriers.sums(), 0);
#pragma unroll
    for (int round = 0; round < Exchange::kRounds; round++) {
        if (!sums.any(round)) break;
        int sum[4];
        float y[4];
        sums.total(round, sum);
        finish_four<T::kFold>(channels, a_scales + round * kSlices * 8, sum, y);
        if (p.type == kFloat) store_four(p, row0 + r, token0 + round * kSlices * 8 + lane % 4 * 2, y);
        else stage_eight(row + round * 8 * kStagePitch, pack_two(y[0], y[1], half), pack_two(y[2], y[3], half));
    }
    if (p.type == kFloat) return;
    warpgroup_barrier();
    store_staged(p, staging, groups * 8, row0 + (T::kPartners == 1 ? threadIdx.x / 128 * 64 : 0), [&](int i) { return token0 + i / 8 * kSlices * 8 + i % 8; });
}

template <class T>
__device__ __forceinline__ void finish_slices(const Params& p, const Work& work, u8* shared, const Barriers<T>& barriers, const Accumulator<T>& acc) {
    if (work.slices == 2) finish_slices<T, 2>(p, work, shared, barriers, acc);
    else if (work.slices == 3) finish_slices<T, 3>(p, work, shared, barriers, acc);
    else finish_slices<T, 4>(p, work, shared, barriers, acc);
}
