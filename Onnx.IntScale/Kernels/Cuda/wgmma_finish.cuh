// The end of a tile, by the warpgroups that multiply: sums of all slices of K become Y.
#pragma once
#include "wgmma_consume.cuh"

template <class T>
__device__ __forceinline__ void consumer_barrier() {
    asm volatile("bar.sync 1, %0;" ::"n"(T::kConsumers) : "memory");
}

// Adds the partial sums of a cluster's slices of K. Groups of eight tokens are dealt to the slices, and each slice gets all sums of its
// groups, in the order of the accumulators: [its groups][slice they come from][warpgroup][thread][4].
template <class T>
__device__ __forceinline__ void finish_split(const Params& p, const Place& place, u8* shared, const Barriers<T>& barriers, const Accumulator<T>& acc, const Channels& channels, int m) {
    constexpr int kEights = T::kTokens / 8;
    constexpr int kSumBytes = 128 * 16;
    u32 slices = place.slices, slice = place.slice;
    auto place_of = [&](u32 round, u32 from) { return shared_address(shared) + ((round * slices + from) * T::kRowGroups + threadIdx.x / 128) * kSumBytes + threadIdx.x % 128 * 16; };

    // Everybody is done with the stages, whose memory this takes.
    consumer_barrier<T>();
    if (threadIdx.x == 0) arrive_expecting(barriers.sums(), (kEights - slice + slices - 1) / slices * slices * T::kRowGroups * kSumBytes);
    arrive_at_cluster();
    wait_for_cluster();
    u32 to = 0, round = 0;
#pragma unroll
    for (int j = 0; j < kEights; j++) {
        store_cluster(address_at(place_of(round, slice), to), make_int4(acc[4 * j], acc[4 * j + 1], acc[4 * j + 2], acc[4 * j + 3]), address_at(barriers.sums(), to));
        if (++to == slices) to = 0, round++;
    }
    wait_for_phase(barriers.sums(), 0);

    round = 0;
    for (u32 j = slice; j < kEights; round++, j += slices) {
        int total[4] = {};
#pragma unroll 4
        for (u32 from = 0; from < slices; from++) {
            int4 v;
            asm volatile("ld.shared.v4.s32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(place_of(round, from)) : "memory");
            total[0] = add<T::kFold>(total[0], v.x), total[1] = add<T::kFold>(total[1], v.y);
            total[2] = add<T::kFold>(total[2], v.z), total[3] = add<T::kFold>(total[3], v.w);
        }
        float y[4];
        finish_four<T::kFold>(p, channels, reinterpret_cast<const float*>(shared + T::kScalesAt) + m + j * 8, total, y);
        store_four(p, channels.n, place.token0 + m + j * 8, y);
    }
}

// The whole sums are in this warpgroup's registers.
template <class T>
__device__ __forceinline__ void finish_whole(const Params& p, const Place& place, u8* shared, const Accumulator<T>& acc, const Channels& channels, int m) {
    constexpr int kEights = T::kTokens / 8;
    const float* a_scales = reinterpret_cast<const float*>(shared + T::kScalesAt) + m;
    int group = threadIdx.x / 128, row0 = place.row0 + group * 64;
    float y[4];
    if (p.type == kFloat) {
#pragma unroll
        for (int j = 0; j < kEights; j++) {
            finish_four<T::kFold>(p, channels, a_scales + j * 8, acc + 4 * j, y);
            store_four(p, channels.n, place.token0 + m + j * 8, y);
        }
        return;
    }

    consumer_barrier<T>();
    u8* staging = shared + group * T::kTokens * kStagePitch;
#pragma unroll
    for (int j = 0; j < kEights; j++) {
        finish_four<T::kFold>(p, channels, a_scales + j * 8, acc + 4 * j, y);
        stage_four(staging, p.type, channels.n - row0, m + j * 8, y);
    }
    asm volatile("bar.sync %0, 128;" ::"r"(group + 2) : "memory");
    store_staged<T::kTokens>(p, staging, place.token0, row0);
}
