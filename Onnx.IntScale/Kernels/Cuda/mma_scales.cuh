// Integer group scales and zero points of a warp's 32 channels: lane l loads channel l's, and the lanes that multiply ask it.
//
// Loads go to registers a stage ahead. They touch a sector a channel, but neighbouring stages share it, so most come from L1.
#pragma once
#include "mma_weights.cuh"

template <int kBlock, bool kTimes16>
struct StageScales {
    static constexpr int kGroups = kBlock >= 128 ? 1 : kStage / kBlock;  // of a stage; blocks of 256 are two stages with the same scale
    u32 scales[(kGroups + 1) / 2];
    u32 zeros;

    // The scale of group i in the low half, for x1 also 128 - zero point in the third byte.
    __device__ __forceinline__ u32 packed(int i, int first_group) const {
        u32 scale = i % 2 ? scales[i / 2] >> 16 : scales[i / 2];
        if constexpr (kTimes16) return scale;
        else {
            u32 zero = zeros >> 4 * (kGroups == 1 ? first_group % 2 : i) & 15;
            return (scale & 0xFFFF) | (128 - zero) << 16;
        }
    }
};

__device__ __forceinline__ int scale_of(u32 packed) { return (i16)packed; }
__device__ __forceinline__ u32 zeros_of(u32 packed) { return __byte_perm(packed, 0, 0x2222); }

template <int kBlock, bool kTimes16>
struct ScaleLoads {
    using Stage = StageScales<kBlock, kTimes16>;
    static constexpr int kGroups = Stage::kGroups;
    const i16* scales;
    const u8* zero_points;
    int k_blocks, zero_bytes, log_stages_per_block;
    bool whole;  // a stage's scales are one aligned load, and its zero points another

    __device__ __forceinline__ ScaleLoads(const Params& p, int first_channel) {
        int n = min(first_channel + (int)threadIdx.x % 32, p.n - 1);
        k_blocks = p.k_blocks, zero_bytes = (p.k_blocks + 1) / 2;
        scales = p.scales + (long long)n * k_blocks;
        zero_points = p.zero_points == nullptr ? nullptr : p.zero_points + (long long)n * zero_bytes;
        log_stages_per_block = p.block_size == 256;
        whole = k_blocks % kGroups == 0 && (reinterpret_cast<u64>(p.scales) % 8 | reinterpret_cast<u64>(p.zero_points) % 2) == 0;
    }

    __device__ __forceinline__ int first_group(int stage) const { return kBlock >= 128 ? stage >> log_stages_per_block : stage * kGroups; }

    __device__ __forceinline__ u32 scale(int group) const { return group < k_blocks ? (u16)__ldg(scales + group) : 0u; }
    __device__ __forceinline__ u32 zero_pair(int group) const { return group / 2 < zero_bytes ? (u32)__ldg(zero_points + group / 2) : 0u; }

    // Groups past the row have the scale 0.
    __device__ __forceinline__ Stage load(int stage) const {
        Stage s;
        int first = first_group(stage);
        s.scales[0] = 0, s.scales[(kGroups - 1) / 2] = 0, s.zeros = 0x8888;
        if (first >= k_blocks) return s;
        if constexpr (kGroups == 1) {
            s.scales[0] = scale(first);
        } else if (whole) {
            if constexpr (kGroups == 2) s.scales[0] = __ldg(reinterpret_cast<const u32*>(scales + first));
            else {
                uint2 v = __ldg(reinterpret_cast<const uint2*>(scales + first));
                s.scales[0] = v.x, s.scales[1] = v.y;
            }
        } else {
#pragma unroll
            for (int i = 0; i < kGroups; i += 2) s.scales[i / 2] = scale(first + i) | scale(first + i + 1) << 16;
        }
        if constexpr (!kTimes16) {
            if (zero_points != nullptr) {
                if constexpr (kGroups < 4) s.zeros = zero_pair(first);
                else if (whole) s.zeros = __ldg(reinterpret_cast<const u16*>(zero_points + first / 2));
                else s.zeros = zero_pair(first) | zero_pair(first + 2) << 8;
            }
        }
        return s;
    }
};
