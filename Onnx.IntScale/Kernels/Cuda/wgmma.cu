// The Hopper kernel and its instances; wgmma_tile.cuh says how it works.
#include "wgmma_consume.cuh"
#include "wgmma_finish.cuh"
#include "wgmma_produce.cuh"
#include "wgmma_scaled.cuh"

namespace {

// Registers are dealt anew: a thread that multiplies needs more than one that asks. Together 384 times 168.
template <class T>
constexpr int kMultiplyRegisters = T::kTokens == 128 ? 224 : 208;
template <class T>
constexpr int kAskRegisters = 3 * 168 - 2 * kMultiplyRegisters<T>;

template <class T, bool kScaled = T::kScaled>
struct MultiplierOf {
    using Type = Consumer<T>;
};
template <class T>
struct MultiplierOf<T, true> {
    using Type = ScaledConsumer<T>;
};

template <class T>
__device__ __forceinline__ void consume(const Params& p, u8* shared, const Barriers<T>& barriers, Work work) {
    int r = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
    Slice slice = slice_of<T>(p, work);
    typename MultiplierOf<T>::Type consumer(p, shared, barriers, slice, r, work.row0<T>() + r);
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
__device__ __forceinline__ void produce(const Params& p, const TensorMap& codes, u8* shared, const Barriers<T>& barriers, const Work& work) {
    int thread = threadIdx.x - T::kConsumers;
    if (thread >= 64) produce_spans<T>(p, shared, barriers, work, thread - 64);
    else if (thread < 32) produce_tokens<T>(p, shared, barriers, work);
    else if (thread == 32) produce_codes<T>(p, codes, shared, barriers, work);
    __syncwarp();
    if (work.slices == 1) return;
    // finish_split's.
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
        asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kAskRegisters<T>));
        produce<T>(p, codes, shared, barriers, work);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kMultiplyRegisters<T>));
        consume<T>(p, shared, barriers, work);
    }
}

}  // namespace

// wgmma_b<block>_t<tokens>_<fold>; CudaKernels.cs lists them.
#define WGMMA(block, tokens, stages, name, fold)                                                                          \
    extern "C" __global__ void __launch_bounds__(Tile<block, tokens, stages, fold>::kThreads, 1)                         \
        wgmma_b##block##_t##tokens##_##name(const __grid_constant__ Params p, const __grid_constant__ TensorMap codes) { \
        matmul<Tile<block, tokens, stages, fold>>(p, codes);                                                             \
    }
#define WGMMA_TOKENS(block, name, fold)        \
    WGMMA(block, 16, 16, name, fold)           \
    WGMMA(block, 32, kDeep<block>, name, fold) \
    WGMMA(block, 64, 8, name, fold)            \
    WGMMA(block, 128, kFew<block>, name, fold)
#define WGMMA_FOLDS(block)                     \
    WGMMA_TOKENS(block, x16, Fold::kInteger16)  \
    WGMMA_TOKENS(block, x1, Fold::kInteger1)

// Stages that fit beside the scales, which blocks of 32 have more of.
template <int kBlock>
constexpr int kDeep = kBlock == 32 ? 8 : 16;
template <int kBlock>
constexpr int kFew = kBlock == 32 ? 4 : 8;

WGMMA_FOLDS(32)
WGMMA_FOLDS(64)
WGMMA_FOLDS(128)
WGMMA_FOLDS(256)

// Scales so small that codes carry them.
#define WGMMA_SCALED(block)                      \
    WGMMA(block, 128, kFew<block>, s8, Fold::kScaled) \
    WGMMA(block, 256, 4, s8, Fold::kScaled)
WGMMA_SCALED(32)
WGMMA_SCALED(64)
WGMMA_SCALED(128)
WGMMA_SCALED(256)

// The twin, to measure what integer scales buy.
WGMMA(64, 128, 8, f16, Fold::kFloat16)
WGMMA(128, 16, 16, f16, Fold::kFloat16)
WGMMA(128, 128, 8, f16, Fold::kFloat16)
WGMMA(256, 128, 8, f16, Fold::kFloat16)
