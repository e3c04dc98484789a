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
    const u8* sources[kCount];
    u32 target;  // within a buffer
    int left;    // chunks of the row from here on

    // Channels past N repeat the last one: what they give is never stored.
    __device__ __forceinline__ CodeCopies(const Params& p, int first_channel, int thread, int stage) {
        int row_chunks = p.k_blocks * p.block_size / 32, chunk = stage * 4 + thread % 4;
        left = row_chunks - chunk;
        target = code_offset(thread / 4, thread % 4);
#pragma unroll
        for (int i = 0; i < kCount; i++)
            sources[i] = p.b + ((long long)min(first_channel + thread / 4 + i * (kThreads / 4), p.n - 1) * row_chunks + chunk) * 16;
    }

    // Copies a stage and goes on to the one `stages` later. Rows of B end with their last block, perhaps inside a stage: what lies
    // beyond counts as zeros (and a8 is zero there).
    __device__ __forceinline__ void copy(u32 buffer, int stages) {
#pragma unroll
        for (int i = 0; i < kCount; i++) copy_16(buffer + target + i * kThreads * 16, sources[i], left > 0), sources[i] += stages * kRowBytes;
        left -= stages * 4;
    }
};

// Where in a buffer the codes lie that lane 4g + t multiplies of channel `row`.
template <int kBlock>
__device__ __forceinline__ u32 lane_codes(int row, int t) {
    return kBlock >= 128 ? code_offset(row, t) : kBlock == 64 ? code_offset(row, t / 2) + t % 2 * 8 : code_offset(row, 0) + t * 4;
}

// The words of a lane's eight k of steps 0 .. 3, order.cuh's segments: for smaller blocks in other chunks, so other bits of the address.
template <int kBlock>
__device__ __forceinline__ void load_words(u32 (&words)[4], u32 address, int row_offset) {
    if constexpr (kBlock >= 128) {
        uint4 v = load_shared_16(address + row_offset);
        words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
    } else if constexpr (kBlock == 64) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            uint2 v = load_shared_8((address ^ half << 5) + row_offset);
            words[2 * half] = v.x, words[2 * half + 1] = v.y;
        }
    } else {
#pragma unroll
        for (int j = 0; j < 4; j++) words[j] = load_shared_4((address ^ j << 4) + row_offset);
    }
}

// (a ^ b) & c in one instruction: written in C it becomes two, as the compiler moves the mask.
__device__ __forceinline__ u32 xor_and(u32 a, u32 b, u32 c) {
    u32 d;
    asm("lop3.b32 %0, %1, %2, %3, 0x28;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}

// A word's four low nibbles and its four high ones as signed bytes. x16: 16 * (code - 8), three instructions, for weights
// whose certificate leaves four bits; x1: code - zero point, six, from zeros = (128 - zero point) in each byte.
template <bool kTimes16>
__device__ __forceinline__ void unpack(u32 word, u32 zeros, u32& low, u32& high) {
    constexpr u32 kSigns = 0x80808080, kHigh = 0xF0F0F0F0, kLow = 0x0F0F0F0F;
    if constexpr (kTimes16) {
        low = xor_and(word << 4, kSigns, kHigh);
        high = xor_and(word, kSigns, kHigh);
    } else {
        low = ((word & kLow) + zeros) ^ kSigns;
        high = (((word & kHigh) >> 4) + zeros) ^ kSigns;  // shift and addition are one instruction
    }
}
