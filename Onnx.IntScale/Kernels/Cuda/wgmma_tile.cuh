// The Hopper kernel (sm_90a), M >= 2, 4 bits, blocks of 32 to 256: what a thread block computes and where things lie in its shared memory.
//
// A thread block computes 128 channels by kTokens tokens. Codes are the A operand, from registers: each warp unpacks its own 16 rows, once,
// for all tokens. Activations are the B operand, from shared memory, as quantize.cu wrote them. Two warpgroups of 64 channels multiply
// (wgmma_consume.cuh), a third one asks for everything (wgmma_produce.cuh).
//
// Where there are too few tiles for all multiprocessors, the thread blocks of a cluster split K. Partial sums are int32 (but the twin's), so
// any split gives the same bits.
#pragma once
#include "cluster.cuh"
#include "codes.cuh"
#include "finish.cuh"
#include "spans.cuh"
#include "wgmma_ptx.cuh"

template <int kBlock_, int kTokens_, int kStages_, Fold kFold_>
struct Tile {
    static constexpr int kBlock = kBlock_;
    static constexpr int kTokens = kTokens_;  // tokens of a thread block: a multiple of 8
    static constexpr int kStages = kStages_;  // of 128 k in shared memory: a power of two
    static constexpr Fold kFold = kFold_;
    static_assert((kStages & (kStages - 1)) == 0 && kStages >= 4);

    static constexpr int kRowGroups = 2;                // warpgroups that multiply
    static constexpr int kRows = 64 * kRowGroups;       // channels of a thread block
    static constexpr int kConsumers = 128 * kRowGroups;  // threads that multiply
    static constexpr int kThreads = kConsumers + 128;
    static constexpr bool kAhead = kTokens <= 64;  // registers for the sums of two groups
    static constexpr bool kZeros = kFold == Fold::kInteger1;
    static constexpr int kStageBlocks = kBlock > kStage ? kBlock / kStage : 1;  // stages of a block of weights
    static constexpr int kParts = Span<kBlock>::kStageGroups;                   // groups of a stage

    static constexpr int kTokenBytes = kTokens * kStage;  // of a stage
    static constexpr int kCodeBytes = kRows * kRowBytes;  // of a stage
    static constexpr int kSpanBytes = Span<kBlock>::bytes(kRows, kZeros);

    static constexpr int kCodesAt = kStages * kTokenBytes;
    static constexpr int kSpansAt = kCodesAt + kStages * kCodeBytes;  // two
    static constexpr int kScalesAt = kSpansAt + 2 * kSpanBytes;       // a_scale of each token
    static constexpr int kBarriersAt = (kScalesAt + kTokens * 4 + 7) / 8 * 8;
    static constexpr int kSharedBytes = kBarriersAt + ((kStages + 2) * 2 + 2) * 8 + 1024;  // the last to align the first; CudaPlanner.cs says the same
    static_assert(kRowGroups * kTokens * 256 <= kSpansAt && kRowGroups * kTokens * kStagePitch <= kSpansAt, "results pass through the stages' memory");
};

// Barriers in shared memory.
template <class T>
struct Barriers {
    u32 base;

    __device__ __forceinline__ u32 full(int at) const { return base + at * 16; }
    __device__ __forceinline__ u32 empty(int at) const { return full(at) + 8; }
    __device__ __forceinline__ u32 span_full(int at) const { return base + (T::kStages + at) * 16; }
    __device__ __forceinline__ u32 span_empty(int at) const { return span_full(at) + 8; }
    __device__ __forceinline__ u32 scales() const { return base + (T::kStages + 2) * 16; }
    __device__ __forceinline__ u32 sums() const { return scales() + 8; }
};

// A thread block's place: which of how many slices of K, which rows, which tokens.
struct Place {
    u32 slices, slice;
    int row0, token0;

    template <class T>
    __device__ __forceinline__ static Place of() {
        u32 slices = cluster_size();
        return {slices, cluster_rank(), (int)(blockIdx.x / slices) * T::kRows, (int)blockIdx.y * T::kTokens};
    }
};

// The stages of a slice: all stages, in whole blocks of weights, divided as evenly as can be.
struct Slice {
    int begin, count;
};

template <class T>
__device__ __forceinline__ Slice slice_of(const Params& p, const Place& place) {
    u32 stages = (p.k + kStage - 1) / kStage, blocks = (stages + T::kStageBlocks - 1) / T::kStageBlocks;
    u32 begin = blocks * place.slice / place.slices * T::kStageBlocks, end = blocks * (place.slice + 1) / place.slices * T::kStageBlocks;
    return {(int)begin, (int)((end < stages ? end : stages) - begin)};
}

template <class T>
__device__ __forceinline__ int first_group(const Slice& slice, int stage) {
    return T::kBlock > kStage ? (slice.begin + stage) / T::kStageBlocks : (slice.begin + stage) * T::kParts;
}
