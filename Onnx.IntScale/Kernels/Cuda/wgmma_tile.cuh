// The Hopper kernel (sm_90a), M >= 2, 4 bits, blocks of 32 to 256: what a thread block computes and where things lie in its shared memory.
//
// A thread block computes 128 channels by kTokens tokens. Codes are the A operand, from registers: each warp unpacks its own 16 rows, once,
// for all tokens. Activations are the B operand, from shared memory, as quantize.cu wrote them. Two warpgroups of 64 channels multiply
// (wgmma_consume.cuh; wgmma_scaled.cuh where codes carry their scales), a third one asks for everything (wgmma_produce.cuh).
//
// Or a tile has 64 channels, and both are partners who take every second stage of it, and then add their sums (wgmma_partners.cuh): twice as many
// tiles, for calls of so few that multiprocessors would be left over or K be cut in more slices.
//
// Where there are more tiles than multiprocessors, a thread block computes several, one after the other, and asks for the next one's first
// stages while this one's results are stored. Where there are too few, the thread blocks of a cluster split K. Partial sums are int32 (but
// the twin's), so any split gives the same bits.
#pragma once
#include "cluster.cuh"
#include "codes.cuh"
#include "finish.cuh"
#include "spans.cuh"
#include "wgmma_ptx.cuh"

// What a thread block computes.
enum class Cut {
    kTiles,   // tiles, one after the other
    kTile,    // one tile
    kSlices,  // a slice of K of one tile, and the thread blocks of its cluster the other slices
};

template <int kBlock_, int kTokens_, int kStages_, Fold kFold_, Cut kCut_, int kRows_ = 128>
struct Tile {
    static constexpr int kBlock = kBlock_;
    static constexpr int kTokens = kTokens_;  // tokens of a thread block: a multiple of 8
    static constexpr int kStages = kStages_;  // of 128 k in shared memory: a power of two
    static constexpr Fold kFold = kFold_;
    static constexpr bool kScaled = kFold == Fold::kScaled;
    static_assert((kStages & (kStages - 1)) == 0 && kStages >= 4);

    static constexpr bool kSplit = kCut_ == Cut::kSlices, kOne = kCut_ != Cut::kTiles;
    static constexpr int kMostSlices = 4;              // of K
    static constexpr int kTogether = kScaled ? 4 : 1;  // tiles of tokens that share codes while those are in L2

    static constexpr int kRows = kRows_;                    // channels of a thread block
    static constexpr int kRowGroups = kRows / 64;           // warpgroups of different channels
    static constexpr int kPartners = 2 / kRowGroups;        // warpgroups of the same channels; if they are two, each multiplies every second stage
    static constexpr int kOwnTokens = kTokens / kPartners;  // those whose sums a warpgroup ends up with
    static constexpr int kConsumers = 256;                  // threads that multiply
    static constexpr int kThreads = kConsumers + 128;
    static_assert(kPartners == 1 || kOne);

    // Registers of a thread as it begins, and once they are dealt anew: one that multiplies needs more than one that asks. Where fewer will do, thread
    // blocks of the next quantization find room beside this one; otherwise they crowd where no product is. ptxas gives a thread as many as
    // kBoundThreads threads can have.
    static constexpr bool kLight = kTokens <= 64 || kPartners == 2 || (kTokens == 128 && kScaled);
    static constexpr int kRegisters = kLight ? 128 : 168, kBoundThreads = 65536 / kRegisters / 128 * 128;
    static constexpr int kMultiplyRegisters = kLight ? 168 : kTokens == 128 ? 224 : 208, kAskRegisters = 3 * kRegisters - 2 * kMultiplyRegisters;
    static_assert(kThreads == 384 && kBoundThreads >= kThreads);

    // Stages whose codes are asked for before the kernel before is over; how many more for each 32 stages of K; the cycles from one to the next, and
    // after that kernel. All codes that fit, at once, would keep the quantization, which everybody waits for, and then the first activations from
    // memory (benchmarks/cuda.md).
    static constexpr int kEarlyStages = kPartners == 2 ? (kTokens <= 32 ? 12 : kTokens == 64 && kSplit ? 10 : 8) : kTokens <= 32 ? 8 : kTokens <= 128 ? 5 : 2;
    static constexpr int kEarlyOf32 = kTokens <= 32 ? 1 : 0;
    static constexpr u32 kPace = kPartners == 2 ? (kTokens <= 32 ? 96 : 160) : kTokens <= 32 ? 192 : kTokens == 64 ? 352 : 512, kPause = 125;

    static constexpr bool kAhead = kTokens <= 64;        // registers for the sums of two groups
    static constexpr int kPlaces = kStages / kPartners;  // stages of a warpgroup in shared memory
    static constexpr int kUnroll = !kAhead && kBlock < kStage ? 2 : kStages == 8 && kBlock >= kStage && !kSplit ? 8 : 4;  // stages of a turn of the loop
    // An only tile's places of nothing (ring_places) are not given back, so there must be places for all of them.
    static_assert(kScaled || !kOne || kPartners * (kUnroll + 2) - 1 <= kStages);
    static constexpr bool kZeros = kFold == Fold::kInteger1;
    static constexpr int kStageBlocks = kBlock > kStage ? kBlock / kStage : 1;  // stages of a block of weights
    static constexpr int kParts = Span<kBlock>::kStageGroups;                   // groups of a stage

    static constexpr int kTokenBytes = kTokens * kStage;  // of a stage
    static constexpr int kCodeBytes = kRows * kRowBytes;  // of a stage
    static constexpr int kSpanBytes = Span<kBlock>::bytes(kRows, kZeros);

    static constexpr int kCodesAt = kStages * kTokenBytes;
    static constexpr int kSpansAt = kCodesAt + kStages * kCodeBytes;  // two
    static constexpr int kStagingAt = kSpansAt + 2 * kSpanBytes;      // results on their way out, of each warpgroup, some tokens at a time
    static constexpr int kStagedTokens = kOwnTokens <= 64 ? kOwnTokens : kTokens > 128 ? (kBlock == 32 ? 64 : 128) : kBlock != 64 ? 64 : kZeros ? 16 : 32;
    static constexpr int kStagingBytes = kStagedTokens * kStagePitch;
    static constexpr int kFactorsAt = kStagingAt + 2 * kStagingBytes;  // two: of this tile and the next
    static constexpr int kFactorBytes = (2 * kRows + kTokens) * 4;
    static constexpr int kBarriersAt = kFactorsAt + 2 * kFactorBytes;
    static constexpr int kBarriers = (kStages + 4) * 2 + 1 + (kScaled ? kStages * 2 : 0);
    static constexpr int kSharedBytes = kBarriersAt + kBarriers * 8 + 1024;  // the last to align the first; WgmmaPlan.cs says the same
    // Sums that partners give each other lie where each had every second stage's activations: its own, which nobody else reads.
    static constexpr int kGivenAt = (kStages - 2) * kTokenBytes;
    // Where K is split, the one tile's partial sums take the place of the stages, and its results lie behind them.
    static constexpr int kSplitStagingAt = 2 * (kOwnTokens / 8 + kMostSlices - 1) * 2048;
    static constexpr int kSplitStagingBytes = kOwnTokens / 2 * kStagePitch;
    static_assert(!kSplit || kSplitStagingAt + 2 * kSplitStagingBytes <= (kPartners == 2 ? kGivenAt : kSpansAt));
    static_assert(kSharedBytes <= 232448);
};

// What the sums of a tile are multiplied with, and what is added: channel_scales and bias of its channels, a_scales of its tokens.
template <class T>
struct Factors {
    float channel_scales[T::kRows], bias[T::kRows], a_scales[T::kTokens];

    __device__ __forceinline__ static Factors& at(u8* shared, u32 slot) { return reinterpret_cast<Factors*>(shared + T::kFactorsAt)[slot]; }
};

// Barriers in shared memory.
template <class T>
struct Barriers {
    u32 base;

    __device__ __forceinline__ u32 full(int at) const { return base + at * 16; }
    __device__ __forceinline__ u32 empty(int at) const { return full(at) + 8; }
    __device__ __forceinline__ u32 span_full(int at) const { return base + (T::kStages + at) * 16; }
    __device__ __forceinline__ u32 span_empty(int at) const { return span_full(at) + 8; }
    __device__ __forceinline__ u32 factors_full(u32 slot) const { return base + (T::kStages + 2 + slot) * 16; }
    __device__ __forceinline__ u32 factors_empty(u32 slot) const { return factors_full(slot) + 8; }
    __device__ __forceinline__ u32 sums() const { return base + (T::kStages + 4) * 16; }
    // Of codes, where they have a ring of their own.
    __device__ __forceinline__ u32 code_full(int at) const { return T::kScaled ? base + (T::kStages + 4 + at) * 16 + 8 : full(at); }
    __device__ __forceinline__ u32 code_empty(int at) const { return code_full(at) + 8; }
};

// Sums of a thread that multiplies, in the order of wgmma.
template <class T>
using Accumulator = int[T::kTokens / 2];

// And what is left of them once partners have added theirs.
template <class T>
using Sums = int[T::kOwnTokens / 2];

// Which of the partners this warpgroup is; the same for all lanes, as the compiler can see.
template <class T>
__device__ __forceinline__ u32 partner_of_warpgroup() { return T::kPartners == 1 ? 0 : __shfl_sync(~0u, threadIdx.x / 128, 0); }

// The first row of the two of a tile that a thread multiplies; the other is eight further on.
template <class T>
__device__ __forceinline__ int row_of_thread() { return (int)(threadIdx.x % (128 * T::kRowGroups)) / 32 * 16 + threadIdx.x % 32 / 4; }

// The first of its tokens.
template <class T>
__device__ __forceinline__ int own_token0() { return (int)partner_of_warpgroup<T>() * T::kOwnTokens; }

// Of the 128 threads of this warpgroup.
__device__ __forceinline__ void warpgroup_barrier() { asm volatile("bar.sync %0, 128;" ::"r"(threadIdx.x / 128 + 2) : "memory"); }

// A thread block's tiles, one after the other; and which of how many slices of K it computes of them. Where K is split, it is one tile.
// All tiles in order: kTogether tiles of tokens at a time, those of the same channels one after the other.
struct Work {
    u32 slices, slice;
    int step, tiles_n, tiles_m, index, tile_n = 0, tile_m = 0;

    template <class T>
    __device__ __forceinline__ static Work of(const Params& p) {
        u32 slices = T::kSplit ? cluster_size() : 1;
        Work work{slices, T::kSplit ? cluster_rank() : 0, (int)(gridDim.x / slices), (p.n + T::kRows - 1) / T::kRows, p.a8_rows / T::kTokens, (int)(blockIdx.x / slices)};
        work.find_tile<T>();
        return work;
    }

    __device__ __forceinline__ bool any() const { return index < tiles_n * tiles_m; }

    // The next tile's.
    template <class T>
    __device__ __forceinline__ Work next() const {
        Work next = *this;
        next.index += step;
        next.find_tile<T>();
        return next;
    }

    template <class T>
    __device__ __forceinline__ int row0() const {
        return tile_n * T::kRows;
    }

    template <class T>
    __device__ __forceinline__ int token0() const {
        return tile_m * T::kTokens;
    }

private:
    template <class T>
    __device__ __forceinline__ void find_tile() {
        int first_m = index / (tiles_n * T::kTogether) * T::kTogether, rest = index - first_m * tiles_n;
        int together = T::kTogether == 1 ? 1 : max(1, min(T::kTogether, tiles_m - first_m));
        tile_n = rest / together, tile_m = first_m + rest % together;
    }
};

// The stages of a slice: all stages, in whole blocks of weights, divided as evenly as can be.
struct Slice {
    int begin, count;
};

template <class T>
__device__ __forceinline__ Slice slice_of(const Params& p, const Work& work) {
    u32 stages = (p.k + kStage - 1) / kStage, blocks = (stages + T::kStageBlocks - 1) / T::kStageBlocks;
    u32 begin = blocks * work.slice / work.slices * T::kStageBlocks, end = blocks * (work.slice + 1) / work.slices * T::kStageBlocks;
    return {(int)begin, (int)((end < stages ? end : stages) - begin)};
}

template <class T>
__device__ __forceinline__ int first_group(const Slice& slice, int stage) {
    return T::kBlock > kStage ? (slice.begin + stage) / T::kStageBlocks : (slice.begin + stage) * T::kParts;
}

// Those that fold load two stages ahead, without asking whether there is something to load: in tiles of whole turns of the loop the next
// tile's first stages, and after the last tile two of nothing. Other tiles end with two or more of nothing, so that turns never wrap around.
template <class T>
__device__ __forceinline__ bool tile_goes_on(const Slice& slice) { return !T::kScaled && !T::kOne && slice.count % T::kUnroll == 0; }

template <class T>
__device__ __forceinline__ int ring_places(const Slice& slice) {
    int own = (slice.count + T::kPartners - 1) / T::kPartners;
    return T::kScaled || tile_goes_on<T>(slice) ? slice.count : (own + 2 + T::kUnroll - 1) / T::kUnroll * T::kUnroll * T::kPartners;
}
