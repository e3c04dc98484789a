// Dynamic int8 quantization of a row of A, in units of 32 elements: loading, the maximum, rounding, and where codes go.
#pragma once
#include "order.cuh"

constexpr int kUnit = 32;  // elements: a step of a stage, four segments of eight

enum class Order { kRows, kBlock32, kBlock64, kBlock128 };

template <Order kOrder>
__device__ __forceinline__ int segment_of(int j, int t) {
    if constexpr (kOrder == Order::kRows) return 32 * j + 8 * t;
    else if constexpr (kOrder == Order::kBlock32) return segment<32>(j, t);
    else if constexpr (kOrder == Order::kBlock64) return segment<64>(j, t);
    else return segment<128>(j, t);
}

// Four segments of eight elements, as floats or as pairs of 16 bits.
template <int kType>
struct Unit {
    static constexpr int kSegmentWords = kType == kFloat ? 8 : 4;
    u32 words[4 * kSegmentWords];
};

// The larger of each half.
__device__ __forceinline__ u32 max_pairs(u32 a, u32 b) {
#if __CUDA_ARCH__ >= 900
    u32 max;
    asm("max.u16x2 %0, %1, %2;" : "=r"(max) : "r"(a), "r"(b));
    return max;
#else
    return umax(a & 0xFFFF0000, b & 0xFFFF0000) | umax(a & 0xFFFF, b & 0xFFFF);
#endif
}

// Eight elements at an aligned address.
template <int kType>
__device__ __forceinline__ void load_whole_segment(u32* words, const u8* row, int k) {
#pragma unroll
    for (int i = 0; i < Unit<kType>::kSegmentWords; i += 4) {
        uint4 v = reinterpret_cast<const uint4*>(row + (long long)k * kBytes<kType>)[i / 4];
        words[i] = v.x, words[i + 1] = v.y, words[i + 2] = v.z, words[i + 3] = v.w;
    }
}

template <int kType>
__device__ __forceinline__ void load_segment(u32* words, const u8* row, int k, int end, bool aligned) {
    constexpr int kWords = Unit<kType>::kSegmentWords;
    if (aligned && k + 8 <= end) return load_whole_segment<kType>(words, row, k);
#pragma unroll
    for (int i = 0; i < kWords; i++) words[i] = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        if (k + i >= end) break;
        if constexpr (kType == kFloat) words[i] = reinterpret_cast<const u32*>(row)[k + i];
        else words[i / 2] |= (u32)reinterpret_cast<const u16*>(row)[k + i] << (i % 2 * 16);
    }
}

// The first k of a unit's segment t of four.
template <Order kOrder>
__device__ __forceinline__ int unit_segment(int unit, int t) { return (unit >> 2) * kStage + segment_of<kOrder>(unit & 3, t); }

// A unit that lies within an aligned row.
template <int kType, Order kOrder>
__device__ __forceinline__ Unit<kType> load_whole_unit(const u8* row, int unit) {
    Unit<kType> u;
#pragma unroll
    for (int t = 0; t < 4; t++) load_whole_segment<kType>(u.words + t * Unit<kType>::kSegmentWords, row, unit_segment<kOrder>(unit, t));
    return u;
}

template <int kType, Order kOrder>
__device__ __forceinline__ Unit<kType> load_unit(const u8* row, int unit, int end, bool aligned) {
    Unit<kType> u;
#pragma unroll
    for (int t = 0; t < 4; t++) load_segment<kType>(u.words + t * Unit<kType>::kSegmentWords, row, unit_segment<kOrder>(unit, t), end, aligned);
    return u;
}

template <int kType>
__device__ __forceinline__ float element(const Unit<kType>& u, int i) {
    if constexpr (kType == kFloat) return __uint_as_float(u.words[i]);
    else return widen<kType>((u16)(i % 2 ? u.words[i / 2] >> 16 : u.words[i / 2]));
}

// The larger magnitudes of a word's one or two elements, which compare as integers; those of 16 bits each by itself.
template <int kType>
__device__ __forceinline__ u32 max_magnitude(u32 word, u32 max) {
    if constexpr (kType == kFloat) return umax(max, word & 0x7FFFFFFF);
    else return max_pairs(max, word & 0x7FFF7FFF);
}

template <int kType>
__device__ __forceinline__ u32 max_magnitude(const Unit<kType>& u, u32 max) {
#pragma unroll
    for (int i = 0; i < 4 * Unit<kType>::kSegmentWords; i++) max = max_magnitude<kType>(u.words[i], max);
    return max;
}

// The largest of all that went into max.
template <int kType>
__device__ __forceinline__ u32 whole_max(u32 max) {
    if constexpr (kType == kFloat) return max;
    else return umax(max & 0xFFFF, max >> 16);
}

// The largest magnitude as the bits of a float, where NaN > infinity > finite.
template <int kType>
__device__ __forceinline__ u32 as_float_bits(u32 magnitude) {
    if constexpr (kType == kFloat) return magnitude;
    else return float_bits(widen<kType>((u16)magnitude)) & 0x7FFFFFFF;
}

// A unit's codes: even k, then odd k for the tensor-core orders; as they come for rows. 32 bytes.
struct UnitCodes {
    uint4 first, second;
};

template <int kType, Order kOrder>
__device__ __forceinline__ UnitCodes quantize_unit(const Unit<kType>& u, float inverse) {
    UnitCodes codes = {make_uint4(0, 0, 0, 0), make_uint4(0, 0, 0, 0)};
    if (inverse == 0.0f) return codes;
    u32* words[2] = {&codes.first.x, &codes.second.x};
#pragma unroll
    for (int t = 0; t < 4; t++) {
        u32 q[8];
#pragma unroll
        for (int i = 0; i < 8; i++) q[i] = quantize(element(u, 8 * t + i), inverse);
        if constexpr (kOrder == Order::kRows) {
            u32* out = words[t / 2] + t % 2 * 2;
            out[0] = pack_bytes(q[0], q[1], q[2], q[3]), out[1] = pack_bytes(q[4], q[5], q[6], q[7]);
        } else {
            words[0][t] = pack_bytes(q[0], q[2], q[4], q[6]);
            words[1][t] = pack_bytes(q[1], q[3], q[5], q[7]);
        }
    }
    return codes;
}

// Writes a unit's codes to their place among a8_rows rows, in a tensor-core order.
__device__ __forceinline__ void store_unit(i8* a8, int a8_rows, int m, int unit, const UnitCodes& codes) {
    int stage = unit >> 2, j = unit & 3;
    *reinterpret_cast<uint4*>(a8 + chunk_offset(stage, a8_rows, m, 2 * j)) = codes.first;
    *reinterpret_cast<uint4*>(a8 + chunk_offset(stage, a8_rows, m, 2 * j + 1)) = codes.second;
}

__device__ __forceinline__ int units_of(const Params& p) { return (p.k + kStage - 1) / kStage * (kStage / kUnit); }

template <int kType>
__device__ __forceinline__ const u8* row_of(const Params& p, int m) { return static_cast<const u8*>(p.a) + (long long)m * p.k * kBytes<kType>; }

__device__ __forceinline__ bool is_aligned(const u8* row) { return (reinterpret_cast<u64>(row) & 15) == 0; }
