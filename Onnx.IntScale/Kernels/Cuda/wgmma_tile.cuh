// The Hopper kernel (sm_90a), M >= 2, 4 bits, blocks of 32 to 256: what a thread block computes and where things lie in its shared memory.
//
// A thread block computes 64 * kRowGroups channels by kTokens tokens, and each of its kSlices a part of K. Codes are the A operand, from
// registers: each warp unpacks its own 16 rows, once, for all tokens. Activations are the B operand, from shared memory, as quantize.cu
// wrote them. One more warpgroup asks for everything (wgmma_produce.cuh); kRowGroups * kSlices of them multiply (wgmma_consume.cuh).
//
// Thread blocks of a cluster may share the same tokens, each asking for a part of them for all (many tokens), or split K once more (few
// tokens: too few tiles for all multiprocessors), or both. Partial sums are int32 (but the twin's), so any split gives the same bits.
#pragma once
#include "cluster.cuh"
#include "codes.cuh"
#include "finish.cuh"
#include "spans.cuh"
#include "wgmma_ptx.cuh"

template <int kBlock_, int kTokens_, int kRowGroups_, int kSlices_, int kStages_, Fold kFold_>
struct Tile {
    static constexpr int kBlock = kBlock_;
    static constexpr int kTokens = kTokens_;        // tokens of a thread block: a multiple of 8
    static constexpr int kRowGroups = kRowGroups_;  // times 64 channels of a thread block
    static constexpr int kSlices = kSlices_;        // of K within a thread block
    static constexpr int kStages = kStages_;        // of 128 k in shared memory, of a slice; a power of two
    static constexpr Fold kFold = kFold_;
    static_assert((kStages & (kStages - 1)) == 0 && kStages >= 4);

    static constexpr bool kAhead = kTokens <= 64;  // registers for the sums of two groups
    static constexpr bool kZeros = kFold == Fold::kInteger1;
    static constexpr int kRows = 64 * kRowGroups;
    static constexpr int kConsumers = kRowGroups * kSlices * 128;
    static constexpr int kThreads = kConsumers + 128;
    static constexpr int kStageBlocks = kBlock > kStage ? kBlock / kStage : 1;  // stages of a block of weights
    static constexpr int kParts = Span<kBlock>::kStageGroups;                   // groups of a stage

    static constexpr int kTokenBytes = kTokens * kStage;  // of a stage
    static constexpr int kCodeBytes = kRows * kRowBytes;  // of a stage
    static constexpr int kSpanBytes = Span<kBlock>::bytes(kRows, kZeros);

    static constexpr int kCodesAt = kSlices * kStages * kTokenBytes;
    static constexpr int kStagesEnd = kCodesAt + kSlices * kStages * kCodeBytes;
    static constexpr int kSpansAt = kStagesEnd;                        // two of each slice
    static constexpr int kScalesAt = kSpansAt + kSlices * 2 * kSpanBytes;  // a_scale of each token
    static constexpr int kBarriersAt = (kScalesAt + kTokens * 4 + 7) / 8 * 8;
    static constexpr int kSharedBytes = kBarriersAt + (kSlices * (kStages + 2) * 2 + 2) * 8 + 1024;  // the last to align the first
    static_assert(kConsumers / 128 * kTokens * 256 <= kStagesEnd && kConsumers / 128 * kTokens * kStagePitch <= kStagesEnd, "results pass through the stages' memory");
};

// Barriers in shared memory.
template <class T>
struct Barriers {
    u32 base;

    __device__ __forceinline__ u32 full(int slice, int at) const { return base + (slice * T::kStages + at) * 16; }
    __device__ __forceinline__ u32 empty(int slice, int at) const { return full(slice, at) + 8; }
    __device__ __forceinline__ u32 span_full(int slice, int at) const { return base + (T::kSlices * T::kStages + slice * 2 + at) * 16; }
    __device__ __forceinline__ u32 span_empty(int slice, int at) const { return span_full(slice, at) + 8; }
    __device__ __forceinline__ u32 scales() const { return base + T::kSlices * (T::kStages + 2) * 16; }
    __device__ __forceinline__ u32 sums() const { return scales() + 8; }
};

// A thread block's place in its cluster and in the grid. Blocks of the same slice of K come one after another.
struct Place {
    u32 share, ranks;  // blocks of the same tokens and slice of K; slices of K
    u32 part, rank;    // which of either
    int tile;          // of channels

    __device__ __forceinline__ explicit Place(const Params& p) {
        u32 size = cluster_size(), mine = cluster_rank();
        share = p.share, ranks = size / share, part = mine % share, rank = mine / share;
        tile = blockIdx.x / size * share + part;
    }
};

// The stages of one slice: all stages, in whole blocks of weights, divided as evenly as can be.
struct Slice {
    int begin, count;
};

template <class T>
__device__ __forceinline__ Slice slice_of(const Params& p, const Place& place, int slice_in_block) {
    u32 stages = (p.k + kStage - 1) / kStage, blocks = (stages + T::kStageBlocks - 1) / T::kStageBlocks;
    u32 slices = place.ranks * T::kSlices, slice = place.rank * T::kSlices + slice_in_block;
    u32 begin = blocks * slice / slices * T::kStageBlocks, end = blocks * (slice + 1) / slices * T::kStageBlocks;
    return {(int)begin, (int)((end < stages ? end : stages) - begin)};
}

template <class T>
__device__ __forceinline__ int first_group(const Slice& slice, int stage) {
    return T::kBlock > kStage ? (slice.begin + stage) / T::kStageBlocks : (slice.begin + stage) * T::kParts;
}
