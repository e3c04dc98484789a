// The warpgroup that asks for everything that the others multiply.
#pragma once
#include "wgmma_tile.cuh"

// Each of these is one thread's work, and as long as anybody waits for it, so it counts addresses on instead of computing them.

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

    // Two stages after the last one: those that multiply load two ahead, without asking whether there is something to load.
    __device__ __forceinline__ void add_nothing() {
        for (int i = 0; i < 2; i++, next()) {
            wait_until_empty();
            arrive(full + at * 16);
        }
    }
};

// Codes: constants, which need not wait for the kernel before.
template <class T>
__device__ __forceinline__ void produce_codes(const Params& p, const TensorMap& codes, u8* shared, const Barriers<T>& barriers, const Place& place) {
    Slice slice = slice_of<T>(p, place);
    Ring<T> ring{barriers.full(0)};
    u32 memory = shared_address(shared + T::kCodesAt);
#pragma unroll 1
    for (int x = slice.begin * kRowBytes, end = x + slice.count * kRowBytes; x < end; x += kRowBytes, ring.next()) {
        ring.wait_until_empty();
        u32 full = ring.full + ring.at * 16;
        arrive_expecting(full, T::kCodeBytes);
#pragma unroll
        for (int g = 0; g < T::kRowGroups; g++) tensor_copy(memory + ring.at * T::kCodeBytes + g * 64 * kRowBytes, codes, x, place.row0 + g * 64, full);
    }
    ring.add_nothing();
}

template <class T>
__device__ __forceinline__ void produce_tokens(const Params& p, u8* shared, const Barriers<T>& barriers, const Place& place) {
    Slice slice = slice_of<T>(p, place);
    Ring<T> ring{barriers.full(0)};
    u32 memory = shared_address(shared);
    long long pitch = (long long)p.a8_rows * kStage;
    const i8* source = p.a8 + slice.begin * pitch + (long long)place.token0 * kStage;
    wait_for_previous_kernel();
#pragma unroll 1
    for (int i = 0; i < slice.count; i++, source += pitch, ring.next()) {
        ring.wait_until_empty();
        u32 full = ring.full + ring.at * 16;
        arrive_expecting(full, T::kTokenBytes);
        bulk_copy(memory + ring.at * T::kTokenBytes, source, T::kTokenBytes, full);
    }
    ring.add_nothing();
}

constexpr int kSpanThreads = 64;

// Two warps: scales and zero points, and a_scale of the tokens.
template <class T>
__device__ __forceinline__ void produce_spans(const Params& p, u8* shared, const Barriers<T>& barriers, const Place& place, int thread) {
    Slice slice = slice_of<T>(p, place);
    auto ask = [&](int index) {
        if (index >= 2) wait_for_phase(barriers.span_empty(index % 2), (index / 2 - 1) & 1);
        int first = first_group<T>(slice, index * kSpan), end = min(p.k_blocks, first_group<T>(slice, slice.count - 1) + T::kParts);
        u32 span = shared_address(shared + T::kSpansAt + index % 2 * T::kSpanBytes);
        for (int r = thread; r < T::kRows; r += kSpanThreads)
            copy_span_row<T::kBlock, T::kZeros>(p, span, T::kRows, r, place.row0 + r, first, min(end - first, Span<T::kBlock>::kGroups));
        arrive_when_copied(barriers.span_full(index % 2));
    };
    if (slice.count > 0) ask(0);
    wait_for_previous_kernel();
    for (int i = thread; i < T::kTokens; i += kSpanThreads) reinterpret_cast<float*>(shared + T::kScalesAt)[i] = place.token0 + i < p.m ? p.a_scales[place.token0 + i] : 0.0f;
    arrive(barriers.scales());
    for (int index = 1; index * kSpan < slice.count; index++) ask(index);
}
