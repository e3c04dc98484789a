// The Hopper kernel and what makes its instances, a source for each block of weights; wgmma_tile.cuh says how it works.
#pragma once
#include "wgmma_consume.cuh"
#include "wgmma_finish.cuh"
#include "wgmma_partners.cuh"
#include "wgmma_produce.cuh"
#include "wgmma_scaled.cuh"
#include "wgmma_slices.cuh"

namespace {

template <class T, bool kScaled = T::kScaled>
struct MultiplierOf {
    using Type = Consumer<T>;
};
template <class T>
struct MultiplierOf<T, true> {
    using Type = ScaledConsumer<T>;
};

// One tile, or a slice of K of it.
template <class T>
__device__ __forceinline__ void consume_one(const Params& p, const Work& work, u8* shared, const Barriers<T>& barriers, typename MultiplierOf<T>::Type& consumer) {
    // What Y takes the place of may still be read. Activations are waited for anyway, and where K is split, nothing may come between products and Y.
    if (T::kSplit) wait_for_previous_kernel();
    Accumulator<T> acc = {};
    consumer.run(acc, false);
    if constexpr (T::kSplit) finish_slices<T>(p, work, shared, barriers, acc);
    else {
        wait_for_previous_kernel();
        Sums<T> sums;
        add_partners<T>(shared, acc, sums);
        finish<T>(p, work, shared, barriers, sums, 0);
    }
}

// Tiles one after the other.
template <class T>
__device__ __forceinline__ void consume_all(const Params& p, Work work, u8* shared, const Barriers<T>& barriers, typename MultiplierOf<T>::Type& consumer) {
    u32 done = 0;
#pragma unroll 1
    while (work.any()) {
        Work next = work.next<T>();
        Accumulator<T> acc = {};
        consumer.run(acc, next.any());
        // What Y takes the place of may still be read.
        if (done == 0) wait_for_previous_kernel();
        finish<T>(p, work, shared, barriers, acc, done++);
        work = next;
    }
}

template <class T>
__device__ __forceinline__ void consume(const Params& p, u8* shared, const Barriers<T>& barriers, const Work& work) {
    int r = row_of_thread<T>();
    typename MultiplierOf<T>::Type consumer(p, shared, barriers, slice_of<T>(p, work), r, work.row0<T>() + r);
    if constexpr (T::kOne) consume_one<T>(p, work, shared, barriers, consumer);
    else consume_all<T>(p, work, shared, barriers, consumer);
}

template <class T>
__device__ __forceinline__ void produce(const Params& p, const TensorMap& codes, u8* shared, const Barriers<T>& barriers, const Work& work) {
    int thread = threadIdx.x - T::kConsumers;
    if (thread >= 64) produce_spans<T>(p, shared, barriers, work, thread - 64);
    else if (thread < 32) produce_tokens<T>(p, shared, barriers, work);
    else if (is_elected()) produce_codes<T>(p, codes, shared, barriers, work);
    __syncwarp();
    if (!T::kSplit) return;
    // finish_slices'.
    arrive_at_cluster();
    wait_for_cluster();
}

template <class T>
__device__ __forceinline__ void matmul(const Params& p, const TensorMap& codes) {
    extern __shared__ u8 memory[];
    u8* shared = memory + (1024 - shared_address(memory) % 1024) % 1024;
    Barriers<T> barriers{shared_address(shared + T::kBarriersAt)};
    if (threadIdx.x == 0) {
        for (int i = 0; i < T::kStages; i++) {
            init_barrier(barriers.full(i), T::kScaled ? 1 : 2);
            init_barrier(barriers.empty(i), T::kRowGroups * 4);
        }
        for (int i = 0; T::kScaled && i < T::kStages; i++) {
            init_barrier(barriers.code_full(i), 1);
            init_barrier(barriers.code_empty(i), T::kRowGroups * 4);
        }
        for (int i = 0; i < 2; i++) {
            init_barrier(barriers.span_full(i), kSpanThreads);
            init_barrier(barriers.span_empty(i), T::kConsumers);
            init_barrier(barriers.factors_full(i), 32 + kSpanThreads);
            init_barrier(barriers.factors_empty(i), T::kConsumers);
        }
        init_barrier(barriers.sums(), 1);
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    let_next_kernel_start();
    Work work = Work::of<T>(p);
    if (threadIdx.x >= T::kConsumers) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(T::kAskRegisters));
        produce<T>(p, codes, shared, barriers, work);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(T::kMultiplyRegisters));
        consume<T>(p, shared, barriers, work);
    }
}

// Stages that fit beside the scales, which blocks of 32 have more of.
template <int kBlock>
constexpr int kDeep = kBlock == 32 ? 8 : 16;
template <int kBlock>
constexpr int kFew = kBlock == 32 ? 4 : 8;

}  // namespace

// wgmma_b<block>_t<tokens>_<fold>, _one where a thread block has one tile, and _split where it has a slice of K: what a kernel need not ask
// makes small products up to a tenth faster (benchmarks/cuda.md). wgmma_b<block>_n64_... where tiles have 64 channels. CudaKernels.cs lists them.
#define WGMMA_TILE(name, ...)                                                                                                                           \
    extern "C" __global__ void __launch_bounds__(__VA_ARGS__::kBoundThreads, 1) name(const __grid_constant__ Params p, const __grid_constant__ TensorMap codes) { \
        matmul<__VA_ARGS__>(p, codes);                                                                                                                   \
    }
#define WGMMA_ONE(block, tokens, stages, name, fold) WGMMA_TILE(wgmma_b##block##_t##tokens##_##name##_one, Tile<block, tokens, stages, fold, Cut::kTile>)
#define WGMMA_WHOLE(block, tokens, stages, name, fold) WGMMA_TILE(wgmma_b##block##_t##tokens##_##name, Tile<block, tokens, stages, fold, Cut::kTiles>)
#define WGMMA(block, tokens, stages, name, fold)    \
    WGMMA_WHOLE(block, tokens, stages, name, fold) \
    WGMMA_TILE(wgmma_b##block##_t##tokens##_##name##_split, Tile<block, tokens, stages, fold, Cut::kSlices>)
#define WGMMA_N64_ONE(block, tokens, stages, name, fold) WGMMA_TILE(wgmma_b##block##_n64_t##tokens##_##name##_one, Tile<block, tokens, stages, fold, Cut::kTile, 64>)
#define WGMMA_N64_SPLIT(block, tokens, stages, name, fold) WGMMA_TILE(wgmma_b##block##_n64_t##tokens##_##name##_split, Tile<block, tokens, stages, fold, Cut::kSlices, 64>)
#define WGMMA_N64(block, tokens, stages, name, fold) \
    WGMMA_N64_ONE(block, tokens, stages, name, fold) \
    WGMMA_N64_SPLIT(block, tokens, stages, name, fold)
#define WGMMA_TOKENS(block, name, fold)        \
    WGMMA(block, 16, 16, name, fold)           \
    WGMMA(block, 32, kDeep<block>, name, fold) \
    WGMMA(block, 64, 8, name, fold)            \
    WGMMA(block, 128, kFew<block>, name, fold) \
    WGMMA_N64_SPLIT(block, 32, 16, name, fold) \
    WGMMA_N64(block, 64, 16, name, fold)
// The last are for scales so small that codes carry them.
#define WGMMA_BLOCK(block)                               \
    WGMMA_TOKENS(block, x16, Fold::kInteger16)            \
    WGMMA_TOKENS(block, x1, Fold::kInteger1)              \
    WGMMA(block, 128, kFew<block>, s8, Fold::kScaled)     \
    WGMMA_ONE(block, 128, kFew<block>, s8, Fold::kScaled) \
    WGMMA_WHOLE(block, 256, 4, s8, Fold::kScaled)         \
    WGMMA_ONE(block, 256, 4, s8, Fold::kScaled)           \
    WGMMA_N64(block, 128, 8, s8, Fold::kScaled)
