// Codes in shared memory: rows of 64 bytes (a stage of 128 k), in the 64-byte swizzle of tensor copies: the four 16-byte chunks of row r are
// exclusive-ored with (r / 2) % 4, so that loads of any width below meet each bank once (twice for blocks of 64).
#pragma once
#include "order.cuh"

constexpr int kRowBytes = kStage / 2;

__device__ __forceinline__ int code_chunk(int row, int chunk) { return row * kRowBytes + ((chunk ^ (row >> 1 & 3)) << 4); }

// The part of row g of eight that thread t of four loads: its first words' place. Rows 8 further on lie 8 * kRowBytes further on.
template <int kBlock>
__device__ __forceinline__ u32 lane_codes(u32 rows, int g, int t) {
    return rows + (kBlock >= 128 ? code_chunk(g, t) : kBlock == 64 ? code_chunk(g, t / 2) + t % 2 * 8 : code_chunk(g, 0) + t * 4);
}

// The four words that a lane multiplies, one a step, from where lane_codes says; in the swizzle, other chunks are an exclusive-or away.
template <int kBlock>
__device__ __forceinline__ void load_codes(u32 (&words)[4], u32 lane) {
    if constexpr (kBlock >= 128) {
        asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];" : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "r"(lane) : "memory");
    } else if constexpr (kBlock == 64) {
#pragma unroll
        for (int h = 0; h < 2; h++) asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];" : "=r"(words[2 * h]), "=r"(words[2 * h + 1]) : "r"(lane ^ h * 32) : "memory");
    } else {
#pragma unroll
        for (int j = 0; j < 4; j++) asm volatile("ld.shared.b32 %0, [%1];" : "=r"(words[j]) : "r"(lane ^ j * 16) : "memory");
    }
}
