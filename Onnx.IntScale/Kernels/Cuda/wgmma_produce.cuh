// The warpgroup that asks for everything that the others multiply.
#pragma once
#include "cache_policy.cuh"
#include "wgmma_tile.cuh"

// Codes and activations are one thread's work each, and as long as anybody waits for it, so it counts addresses on instead of computing them.

// A place in the ring of stages and how often the ring went round.
template <class T>
struct Ring {
    u32 full;
    int at = 0;
    u32 parity = 1;  // of the phase before: nothing to wait for the first time round

    __device__ __forceinline__ void wait_until_empty() const { wait_for_phase(full + at * 16 + 8, parity); }

    __device__ __forceinline__ void next() {
        at = (at + 1) % T::kStages;
        if (at == 0) parity ^= 1;
    }

    // Stages of nothing.
    __device__ __forceinline__ void add_nothing(int count) {
        for (; count > 0; count--, next()) {
            wait_until_empty();
            arrive(full + at * 16);
        }
    }
};

constexpr int kSpanThreads = 64;

__device__ __forceinline__ u32 cycles() {
    u32 count;
    asm volatile("mov.u32 %0, %%clock;" : "=r"(count)::"memory");
    return count;
}

__device__ __forceinline__ void pause_for(u32 count) {
    for (u32 begin = cycles(); cycles() - begin < count;) {}
}

// The factors of a thread block's tile number `asked`, once those of the tile before the one before are done with.
template <class T>
__device__ __forceinline__ Factors<T>& begin_factors(u8* shared, const Barriers<T>& barriers, u32 asked) {
    if (asked >= 2) wait_for_phase(barriers.factors_empty(asked % 2), (asked / 2 - 1) & 1);
    return Factors<T>::at(shared, asked % 2);
}

// Codes: constants, which need not wait for the kernel before. Where all tokens are one tile, or a thread block has one tile, no more than the
// first kEarlyStages go ahead, and slowly, for the sake of that kernel.
template <class T>
__device__ __forceinline__ void produce_codes(const Params& p, const TensorMap& codes, u8* shared, const Barriers<T>& barriers, Work work) {
    Slice slice = slice_of<T>(p, work);
    Ring<T> ring{barriers.code_full(0)};
    u32 memory = shared_address(shared + T::kCodesAt);
    // All tiles at once: nobody reads codes again later.
    u64 policy = work.step >= work.tiles_n * work.tiles_m ? evict_first() : evict_normally();
    int begin = slice.begin * kRowBytes, end = begin + slice.count * kRowBytes, x = begin;
    auto ask = [&](int row0) {
        ring.wait_until_empty();
        u32 full = ring.full + ring.at * 16;
        arrive_expecting(full, T::kCodeBytes);
#pragma unroll
        for (int g = 0; g < T::kRowGroups; g++) tensor_copy(memory + ring.at * T::kCodeBytes + g * 64 * kRowBytes, codes, x, row0 + g * 64, full, policy);
        x += kRowBytes, ring.next();
    };
    // Where several tiles of tokens share codes, other folds are 5 % faster without such a limit.
    if (work.tiles_m == 1 || (T::kOne && (T::kScaled || !T::kSplit))) {
        int early = min(end, begin + (T::kEarlyStages + p.k / (32 * kStage) * T::kEarlyOf32) * kRowBytes);
#pragma unroll 1
        while (x < early) {
            ask(work.row0<T>());
            pause_for(T::kPace);
        }
        wait_for_previous_kernel();
        pause_for(T::kPause);
    }
#pragma unroll 1
    for (; T::kOne || work.any(); work = work.next<T>(), x = begin) {
        int row0 = work.row0<T>();
#pragma unroll 1
        while (x < end) ask(row0);
        ring.add_nothing(ring_places<T>(slice) - slice.count);
        if (T::kOne) break;
    }
    if (tile_goes_on<T>(slice)) ring.add_nothing(2);
}

// Activations and their scales. By a warp.
template <class T>
__device__ __forceinline__ void produce_tokens(const Params& p, u8* shared, const Barriers<T>& barriers, Work work) {
    int lane = threadIdx.x % 32;
    bool elected = is_elected();
    Slice slice = slice_of<T>(p, work);
    Ring<T> ring{barriers.full(0)};
    u32 memory = shared_address(shared), asked = 0;
    long long pitch = (long long)p.a8_rows * kStage;
    const i8* first = p.a8 + slice.begin * pitch;
    wait_for_previous_kernel();
#pragma unroll 1
    for (; T::kOne || work.any(); work = work.next<T>(), asked++) {
        int token0 = work.token0<T>();
        if (elected) {
            const i8* source = first + (long long)token0 * kStage;
#pragma unroll 1
            for (int i = 0; i < slice.count; i++, source += pitch, ring.next()) {
                if (!T::kSplit || i >= T::kStages) ring.wait_until_empty();  // asked in vain the first time round
                u32 full = ring.full + ring.at * 16;
                arrive_expecting(full, T::kTokenBytes);
                bulk_copy(memory + ring.at * T::kTokenBytes, source, T::kTokenBytes, full);
            }
            ring.add_nothing(ring_places<T>(slice) - slice.count);
        }
        __syncwarp();
        float* a_scales = begin_factors<T>(shared, barriers, asked).a_scales;
#pragma unroll 1
        for (int i = lane; i < T::kTokens; i += 32) a_scales[i] = token0 + i < p.m ? p.a_scales[token0 + i] : 0.0f;
        arrive(barriers.factors_full(asked % 2));
        if (T::kOne) break;
    }
    if (elected && tile_goes_on<T>(slice)) ring.add_nothing(2);
}

// Two warps: scales and zero points, channel_scales and bias.
template <class T>
__device__ __forceinline__ void produce_spans(const Params& p, u8* shared, const Barriers<T>& barriers, Work work, int thread) {
    Slice slice = slice_of<T>(p, work);
    int end = min(p.k_blocks, first_group<T>(slice, slice.count - 1) + T::kParts);
    u32 spans = 0, asked = 0;
#pragma unroll 1
    for (; T::kOne || work.any(); work = work.next<T>(), asked++) {
        int row0 = work.row0<T>();
#pragma unroll 1
        for (int stage = 0; stage < slice.count; stage += kSpan, spans++) {
            if (spans >= 2) wait_for_phase(barriers.span_empty(spans % 2), (spans / 2 - 1) & 1);
            int first = first_group<T>(slice, stage);
            u32 span = shared_address(shared + T::kSpansAt + spans % 2 * T::kSpanBytes);
            for (int r = thread; r < T::kRows; r += kSpanThreads)
                copy_span_row<T::kBlock, T::kZeros>(p, span, T::kRows, r, row0 + r, first, min(end - first, Span<T::kBlock>::kGroups));
            arrive_when_copied(barriers.span_full(spans % 2));
        }
        Factors<T>& factors = begin_factors<T>(shared, barriers, asked);
        if (p.bias != nullptr) wait_for_previous_kernel();  // which may have computed it
#pragma unroll 1
        for (int r = thread; r < T::kRows; r += kSpanThreads) {
            bool inside = row0 + r < p.n;
            factors.channel_scales[r] = inside ? __ldg(p.channel_scales + row0 + r) : 0.0f;
            factors.bias[r] = inside && p.bias != nullptr ? load_element(p.bias, p.type, row0 + r) : 0.0f;
        }
        arrive(barriers.factors_full(asked % 2));
        if (T::kOne) break;
    }
}
