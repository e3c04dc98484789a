// Warpgroups that multiplied every second stage of the same channels add their sums, each those of a half of the tokens.
#pragma once
#include "wgmma_tile.cuh"

// Sums that are given away lie in the order of the accumulators, [group of eight tokens][thread][4].
template <class T, int kPartner>
__device__ __forceinline__ void add_partners(u32 given, const Accumulator<T>& acc, Sums<T>& own) {
    constexpr int kCount = T::kOwnTokens / 2, kMine = kPartner * kCount, kOther = kCount - kMine;
    static_assert(kCount / 4 * 2048 == T::kTokenBytes);
#pragma unroll
    for (int j = 0; j < kCount; j += 4)
        store_shared(given + kPartner * T::kTokenBytes + j * 512, make_int4(acc[kOther + j], acc[kOther + j + 1], acc[kOther + j + 2], acc[kOther + j + 3]));
    asm volatile("bar.sync 1, 256;" ::: "memory");
#pragma unroll
    for (int j = 0; j < kCount; j += 4) {
        int4 v = load_shared(given + (1 - kPartner) * T::kTokenBytes + j * 512);
        own[j] = add<T::kFold>(acc[kMine + j], v.x), own[j + 1] = add<T::kFold>(acc[kMine + j + 1], v.y);
        own[j + 2] = add<T::kFold>(acc[kMine + j + 2], v.z), own[j + 3] = add<T::kFold>(acc[kMine + j + 3], v.w);
    }
}

// Without a partner, all sums are its own.
template <class T>
__device__ __forceinline__ void add_partners(u8* shared, const Accumulator<T>& acc, Sums<T>& own) {
    if constexpr (T::kPartners == 1) {
#pragma unroll
        for (int i = 0; i < T::kTokens / 2; i++) own[i] = acc[i];
    } else {
        warpgroup_barrier();  // its products are over in all its warps, and nobody else's read what sums take the place of
        u32 given = shared_address(shared + T::kGivenAt) + threadIdx.x % 128 * 16;
        if (partner_of_warpgroup<T>() == 0) add_partners<T, 0>(given, acc, own);
        else add_partners<T, 1>(given, acc, own);
    }
}
