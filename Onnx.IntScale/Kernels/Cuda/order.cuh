// The order of quantized activations for the tensor-core kernels.
//
// B is read as it is stored: the four bytes of a word hold k = 8w .. 8w+7, even k in low nibbles and odd k in high ones. A lane of
// an m16k32 fragment (row g, thread t of four) takes words whose nibbles become its eight k of a step. A dot product does not mind
// the order of k as long as both operands have the same, so the activations are written in the order that the codes come out:
//
//   step j, slot 4t + i  (first half of the step's 32)  <-  k = segment(j, t) + 2i
//   step j, slot 16 + 4t + i (second half)              <-  k = segment(j, t) + 2i + 1
//
// within each stage of 128 k. No step may mix blocks, so the segments depend on the block size.
//
// In memory: [stage][row / 8][row % 8][128 bytes], the eight 16-byte chunks of a row exclusive-ored with row % 8: the image of
// shared memory with the 128-byte swizzle of wgmma, so that any run of whole row groups of a stage is one contiguous copy.
#pragma once
#include "intscale.cuh"

constexpr int kStage = 128;

// First k, within its stage, of the eight that thread t of four multiplies in step j.
template <int kBlock>
__device__ __forceinline__ constexpr int segment(int j, int t) {
    return kBlock >= 128 ? 32 * t + 8 * j : kBlock == 64 ? 64 * (j >> 1) + 16 * t + 8 * (j & 1) : 32 * j + 8 * t;
}

// Where 16-byte chunk c of row m's stage lies, in bytes.
__device__ __forceinline__ long long chunk_offset(int stage, int a8_rows, int m, int c) {
    return (long long)stage * a8_rows * kStage + (long long)m * kStage + ((c ^ (m & 7)) << 4);
}
