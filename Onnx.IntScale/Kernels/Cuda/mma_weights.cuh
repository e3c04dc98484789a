// Codes of 4 bits: from B to shared memory, and from there to the int8 fragments of mma.
#pragma once
#include "mma_ptx.cuh"
#include "order.cuh"

constexpr int kRowBytes = kStage / 2;      // a channel's codes of one stage: four chunks of 16 bytes
constexpr int kWarpChannels = 32;          // two fragments of 16 rows
constexpr int kFragments = kWarpChannels / 16;

// Where chunk c of a channel's stage lies in shared memory. Eight neighbouring channels fill all banks twice at 64 bytes each; moving
// chunks about by these bits of the row keeps every load below, of 16, 8 and 4 bytes, free of bank conflicts.
__device__ __forceinline__ u32 code_offset(int row, int c) { return row * kRowBytes + ((c ^ ((row & 2) | (row >> 2 & 1))) << 4); }

// What one thread copies of each stage: chunk `thread % 4` of every (kThreads / 4)th channel of the block's tile.
template <int kChannels, int kThreads>
struct CodeCopies {
    static constexpr int kCount = kChannels * 4 / kThreads;
    const u8* codes;       // the tile's first channel
    u32 sources[kCount];   // offset of this thread's chunk of stage 0 in each of its channels
    u32 target;
    int chunk, row_chunks;

    // Channels past N repeat the last one: what they give is never stored.
    __device__ __forceinline__ CodeCopies(const Params& p, int first_channel, int thread) {
        row_chunks = p.k_blocks * p.block_size / 32;
        codes = p.b + (long long)first_channel * row_chunks * 16;
        chunk = thread % 4;
        target = code_offset(thread / 4, chunk);
#pragma unroll
        for (int i = 0; i < kCount; i++) sources[i] = (u32)min(thread / 4 + i * (kThreads / 4), p.n - 1 - first_channel) * row_chunks * 16 + chunk * 16;
    }

    // Rows of B end with their last block, perhaps inside a stage: what lies beyond counts as zeros (and a8 is zero there).
    __device__ __forceinline__ void copy(int stage, u32 buffer) const {
        bool valid = stage * 4 + chunk < row_chunks;
#pragma unroll
        for (int i = 0; i < kCount; i++)
            copy_16(buffer + target + i * kThreads * 16, codes + (valid ? sources[i] + (u32)stage * kRowBytes : 0u), valid);
    }
};

// The words of a lane's eight k of steps 0 .. 3 of a channel: order.cuh's segments.
template <int kBlock>
__device__ __forceinline__ void load_words(u32 (&words)[4], u32 buffer, int row, int t) {
    if constexpr (kBlock >= 128) {
        uint4 v = load_shared_16(buffer + code_offset(row, t));
        words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
    } else if constexpr (kBlock == 64) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            uint2 v = load_shared_8(buffer + code_offset(row, 2 * half + t / 2) + t % 2 * 8);
            words[2 * half] = v.x, words[2 * half + 1] = v.y;
        }
    } else {
#pragma unroll
        for (int j = 0; j < 4; j++) words[j] = load_shared_4(buffer + code_offset(row, j) + t * 4);
    }
}

// A word's four low nibbles and its four high ones as signed bytes. x16: 16 * (code - 8), three operations, for weights whose
// certificate leaves four bits; x1: code - zero point, from zeros = (128 - zero point) in each byte.
template <bool kTimes16>
__device__ __forceinline__ void unpack(u32 word, u32 zeros, u32& low, u32& high) {
    constexpr u32 kSigns = 0x80808080, kHigh = 0xF0F0F0F0, kLow = 0x0F0F0F0F;
    if constexpr (kTimes16) {
        low = (word << 4 ^ kSigns) & kHigh;
        high = (word ^ kSigns) & kHigh;
    } else {
        low = ((word & kLow) + zeros) ^ kSigns;
        high = ((word >> 4 & kLow) + zeros) ^ kSigns;
    }
}
