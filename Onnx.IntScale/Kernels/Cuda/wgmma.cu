// The Hopper kernel's instances; wgmma_tile.cuh says how it works.
#include "wgmma_consume.cuh"
#include "wgmma_produce.cuh"

namespace {

// Of the warpgroups that multiply.
template <class T>
__device__ __forceinline__ void consumer_barrier() {
    asm volatile("bar.sync 1, %0;" ::"n"(T::kConsumers) : "memory");
}

// Adds the partial sums of all slices of K. Groups of eight tokens are dealt to the slices, of all blocks that split K, and each slice
// gets all sums of its groups, in the order of the accumulators: [its groups][slice they come from][row group][thread][4].
template <class T>
__device__ __forceinline__ void finish_split(const Params& p, const Place& place, u8* shared, const Barriers<T>& barriers, const Accumulator<T>& acc, const Channels& channels, int m) {
    constexpr int kEights = T::kTokens / 8;
    constexpr int kSumBytes = 128 * 16;
    int group = threadIdx.x / 128, row_group = group % T::kRowGroups, thread = threadIdx.x % 128;
    int slices = place.ranks * T::kSlices, slice = place.rank * T::kSlices + group / T::kRowGroups;
    int rounds = (kEights + slices - 1) / slices;
    u32 sums = shared_address(shared);
    auto place_of = [&](int to, int round, int from) { return sums + ((((to % T::kSlices) * rounds + round) * slices + from) * T::kRowGroups + row_group) * kSumBytes + thread * 16; };

    // Everybody is done with the stages, whose memory this takes.
    consumer_barrier<T>();
    if (place.ranks > 1) {
        if (threadIdx.x == 0) {
            int mine = 0;
            for (int j = 0; j < kEights; j++) mine += j % slices / T::kSlices == (int)place.rank;
            arrive_expecting(barriers.sums(), mine * slices * T::kRowGroups * kSumBytes);
        }
        arrive_at_cluster();
        wait_for_cluster();
    }
#pragma unroll
    for (int j = 0; j < kEights; j++) {
        int to = j % slices;
        int4 v = make_int4(acc[4 * j], acc[4 * j + 1], acc[4 * j + 2], acc[4 * j + 3]);
        u32 address = place_of(to, j / slices, slice);
        u32 rank = to / T::kSlices * place.share + place.part;
        if (place.ranks > 1) store_cluster(address_at(address, rank), v, address_at(barriers.sums(), rank));
        else asm volatile("st.shared.v4.s32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
    }
    if (place.ranks > 1) wait_for_phase(barriers.sums(), 0);
    else consumer_barrier<T>();

    for (int round = 0, j = slice; j < kEights; round++, j += slices) {
        int total[4] = {};
#pragma unroll 4
        for (int from = 0; from < slices; from++) {
            int4 v;
            asm volatile("ld.shared.v4.s32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(place_of(slice, round, from)) : "memory");
            total[0] = add<T::kFold>(total[0], v.x), total[1] = add<T::kFold>(total[1], v.y);
            total[2] = add<T::kFold>(total[2], v.z), total[3] = add<T::kFold>(total[3], v.w);
        }
        float y[4];
        finish_four<T::kFold>(p, channels, reinterpret_cast<const float*>(shared + T::kScalesAt) + m + j * 8, total, y);
        store_four(p, channels.n, blockIdx.y * T::kTokens + m + j * 8, y);
    }
}

// The whole sums are in this warpgroup's registers.
template <class T>
__device__ __forceinline__ void finish_whole(const Params& p, u8* shared, const Accumulator<T>& acc, const Channels& channels, int row0, int m) {
    constexpr int kEights = T::kTokens / 8;
    const float* a_scales = reinterpret_cast<const float*>(shared + T::kScalesAt) + m;
    int m0 = blockIdx.y * T::kTokens, group = threadIdx.x / 128;
    float y[4];
    if (p.type == kFloat) {
#pragma unroll
        for (int j = 0; j < kEights; j++) {
            finish_four<T::kFold>(p, channels, a_scales + j * 8, acc + 4 * j, y);
            store_four(p, channels.n, m0 + m + j * 8, y);
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
    store_staged<T::kTokens>(p, staging, m0, row0);
}

template <class T>
__device__ __forceinline__ void consume(const Params& p, u8* shared, const Barriers<T>& barriers, const Place& place) {
    int group = threadIdx.x / 128, lane = threadIdx.x % 32;
    int s = T::kSlices == 1 ? 0 : group / T::kRowGroups, r = group % T::kRowGroups * 64 + threadIdx.x % 128 / 32 * 16 + lane / 4;
    Slice slice = slice_of<T>(p, place, s);
    Consumer<T> consumer(p, shared, barriers, place, slice, s, r);
    Channels channels(p, place.tile * T::kRows + r);
    wait_for_cluster();
    Accumulator<T> acc = {};
    consumer.run(acc);

    wait_for_previous_kernel();
    wait_for_phase(barriers.scales(), 0);
    int m = lane % 4 * 2;
    if (T::kSlices * place.ranks > 1) finish_split<T>(p, place, shared, barriers, acc, channels, m);
    else finish_whole<T>(p, shared, acc, channels, place.tile * T::kRows + group % T::kRowGroups * 64, m);
    // No block may end while others of its cluster still write to its memory or arrive at its barriers.
    arrive_at_cluster();
    wait_for_cluster();
}

template <class T>
__device__ __forceinline__ void produce(const Params& p, const TensorMap& codes, u8* shared, const Barriers<T>& barriers, const Place& place) {
    int thread = threadIdx.x - T::kConsumers;
    wait_for_cluster();
    if (thread >= 64) {
        produce_spans<T>(p, shared, barriers, place, thread - 64);
    } else if (thread < T::kSlices) {
        produce_tokens<T>(p, shared, barriers, place, thread);
    } else if (thread >= 32 && thread < 32 + T::kSlices) {
        produce_codes<T>(p, codes, shared, barriers, place, thread - 32);
    }
    __syncwarp();
    if (place.ranks > 1) {
        arrive_at_cluster();
        wait_for_cluster();
    }
    arrive_at_cluster();
    wait_for_cluster();
}

template <class T, int kConsumerRegisters, int kProducerRegisters>
__device__ __forceinline__ void matmul(const Params& p, const TensorMap& codes) {
    extern __shared__ u8 memory[];
    u8* shared = memory + (1024 - shared_address(memory) % 1024) % 1024;
    Barriers<T> barriers{shared_address(shared + T::kBarriersAt)};
    Place place(p);
    if (threadIdx.x == 0) {
#pragma unroll
        for (int s = 0; s < T::kSlices; s++) {
            for (int i = 0; i < T::kStages; i++) {
                init_barrier(barriers.full(s, i), 2);
                init_barrier(barriers.empty(s, i), T::kRowGroups * 4 * place.share);
            }
            for (int i = 0; i < 2; i++) {
                init_barrier(barriers.span_full(s, i), kSpanThreads);
                init_barrier(barriers.span_empty(s, i), T::kRowGroups * 4);
            }
        }
        init_barrier(barriers.scales(), kSpanThreads);
        init_barrier(barriers.sums(), 1);
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    arrive_at_cluster();
    let_next_kernel_start();
    if (threadIdx.x >= T::kConsumers) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kProducerRegisters));
        produce<T>(p, codes, shared, barriers, place);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kConsumerRegisters));
        consume<T>(p, shared, barriers, place);
    }
}

}  // namespace

// wgmma_b<block>_t<tokens>_<fold>. Registers are dealt anew: a thread that multiplies needs more than one that asks.
#define WGMMA(block, tokens, row_groups, slices, stages, name, fold, blocks)                                                          \
    extern "C" __global__ void __launch_bounds__(row_groups* slices * 128 + 128, blocks)                                             \
        wgmma_b##block##_t##tokens##_##name(const __grid_constant__ Params p, const __grid_constant__ TensorMap codes) {             \
        constexpr int kGroups = row_groups * slices, kMultiply = kGroups == 4 ? 112 : blocks == 1 ? 232 : 96, kAsk = kGroups == 4 ? 32 : 40; \
        matmul<Tile<block, tokens, row_groups, slices, stages, fold>, kMultiply, kAsk>(p, codes);                                    \
    }

#include "tune.inc"
