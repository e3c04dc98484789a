// Group scales and zero points of rows of B in shared memory, a span of 16 stages (128 k each) at a time, copied asynchronously.
// Nothing is read outside the arrays, whatever N, K and alignment; what lies past them is not used.
#pragma once
#include "async_copy.cuh"
#include "order.cuh"

constexpr int kSpan = 16;  // stages

template <int kBlock>
struct Span {
    static constexpr int kStageGroups = kBlock < kStage ? kStage / kBlock : 1;  // groups of a stage, or the one it is a part of
    static constexpr int kGroups = kSpan * kStage / kBlock;
    // Words of a row, wherever in a word it begins; odd, so that eight rows lie in different banks.
    static constexpr int kScaleWords = (kGroups / 2 + 1) | 1;
    static constexpr int kZeroWords = ((kGroups / 2 + 1 + 3 + 3) / 4) | 1;
    static constexpr int bytes(int rows, bool zeros) { return rows * (kScaleWords + (zeros ? kZeroWords : 0)) * 4; }
};

// Bytes [first, first + count) of a row of an array of `pitch` bytes a row, by whole words of the array; only the array's last word may be a part.
__device__ __forceinline__ void copy_row(u32 shared, const u8* array, int rows, int pitch, int row, int first, int count) {
    long long begin = (long long)row * pitch + first;
    const u8* from = array + (begin & ~3ll);
    long long left = (long long)rows * pitch - (begin & ~3ll);
    int words = (int)((begin & 3) + count + 3) / 4;
    for (; words > 0 && left >= 4; words--, left -= 4, from += 4, shared += 4) copy4(shared, from);
    if (words == 0) return;
    for (int i = 0; i < left; i++) asm volatile("st.shared.u8 [%0], %1;" ::"r"(shared + i), "r"((u32)from[i]) : "memory");
    __threadfence_block();
}

// Groups [group, group + count) of row `row`, which is row r of `rows` in the span.
template <int kBlock, bool kZeros>
__device__ __forceinline__ void copy_span_row(const Params& p, u32 shared, int rows, int r, int row, int group, int count) {
    using S = Span<kBlock>;
    if (row >= p.n) return;
    copy_row(shared + r * S::kScaleWords * 4, reinterpret_cast<const u8*>(p.scales), p.n, p.k_blocks * 2, row, group * 2, count * 2);
    if (kZeros && p.zero_points != nullptr)
        copy_row(shared + (rows * S::kScaleWords + r * S::kZeroWords) * 4, p.zero_points, p.n, (p.k_blocks + 1) / 2, row, group / 2, (group + count + 1) / 2 - group / 2);
}

// Where row r's values begin in a span. Spans are so many groups that what a span begins with lies at the same place of its word in all.
template <int kBlock>
struct SpanRow {
    int scales, zeros;  // bytes from the span's begin to the first group's scale, and to the byte that holds its zero point

    __device__ __forceinline__ SpanRow(const Params& p, int rows, int r, int row, int first_group) {
        using S = Span<kBlock>;
        scales = r * S::kScaleWords * 4 + ((row * p.k_blocks + first_group) & 1) * 2;
        zeros = (rows * S::kScaleWords + r * S::kZeroWords) * 4 + ((row * ((p.k_blocks + 1) / 2) + first_group / 2) & 3);
    }
};
