// Dynamic int8 quantization of A, one block a row, into a8 and a_scales. A row of up to 16384 stays in registers.
#include "order.cuh"

namespace {

constexpr int kUnit = 32;       // elements of a thread: a step of a stage, four segments of eight
constexpr int kThreads = 512;   // at most; each keeps its first unit in registers between finding the maximum and rounding

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

template <int kType>
__device__ __forceinline__ void load_segment(u32* words, const u8* row, int k, int end, bool aligned) {
    constexpr int kWords = Unit<kType>::kSegmentWords;
    if (aligned && k + 8 <= end) {
#pragma unroll
        for (int i = 0; i < kWords; i += 4) {
            uint4 v = __ldg(reinterpret_cast<const uint4*>(row + (long long)k * kBytes<kType>) + i / 4);
            words[i] = v.x, words[i + 1] = v.y, words[i + 2] = v.z, words[i + 3] = v.w;
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < kWords; i++) words[i] = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        if (k + i >= end) break;
        if constexpr (kType == kFloat) words[i] = reinterpret_cast<const u32*>(row)[k + i];
        else words[i / 2] |= (u32)reinterpret_cast<const u16*>(row)[k + i] << (i % 2 * 16);
    }
}

template <int kType, Order kOrder>
__device__ __forceinline__ Unit<kType> load_unit(const u8* row, int unit, int end, bool aligned) {
    Unit<kType> u;
#pragma unroll
    for (int t = 0; t < 4; t++) load_segment<kType>(u.words + t * Unit<kType>::kSegmentWords, row, (unit >> 2) * kStage + segment_of<kOrder>(unit & 3, t), end, aligned);
    return u;
}

template <int kType>
__device__ __forceinline__ float element(const Unit<kType>& u, int i) {
    if constexpr (kType == kFloat) return __uint_as_float(u.words[i]);
    else return widen<kType>((u16)(i % 2 ? u.words[i / 2] >> 16 : u.words[i / 2]));
}

// Bits of the largest magnitude, as those of a float: magnitudes compare as integers, where NaN > infinity > finite.
template <int kType>
__device__ __forceinline__ u32 max_magnitude(const Unit<kType>& u, u32 max) {
#pragma unroll
    for (int i = 0; i < 4 * Unit<kType>::kSegmentWords; i++) {
        if constexpr (kType == kFloat) max = umax(max, u.words[i] & 0x7FFFFFFF);
        else max = umax(umax(max, u.words[i] & 0x7FFF), (u.words[i] >> 16) & 0x7FFF);
    }
    return max;
}

template <int kType>
__device__ __forceinline__ u32 as_float_bits(u32 magnitude) {
    if constexpr (kType == kFloat) return magnitude;
    else return float_bits(widen<kType>((u16)magnitude)) & 0x7FFFFFFF;
}

__device__ __forceinline__ u32 block_max(u32 value) {
    __shared__ u32 warps[kThreads / 32];
    value = __reduce_max_sync(~0u, value);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
    __syncthreads();
    u32 lane = threadIdx.x % 32;
    return __reduce_max_sync(~0u, lane < blockDim.x / 32 ? warps[lane] : 0);
}

// Writes a unit's codes: even k, then odd k for the tensor-core orders; as they come for rows.
template <int kType, Order kOrder>
__device__ __forceinline__ void store_unit(const Params& p, int m, int unit, const Unit<kType>& u, float inverse) {
    uint4 first, second;
    u32* words[2] = {&first.x, &second.x};
#pragma unroll
    for (int t = 0; t < 4; t++) {
        u32 q[8];
#pragma unroll
        for (int i = 0; i < 8; i++) q[i] = inverse != 0.0f ? quantize(element(u, 8 * t + i), inverse) : 0;
        if constexpr (kOrder == Order::kRows) {
            u32* out = words[t / 2] + t % 2 * 2;
            out[0] = pack_bytes(q[0], q[1], q[2], q[3]), out[1] = pack_bytes(q[4], q[5], q[6], q[7]);
        } else {
            words[0][t] = pack_bytes(q[0], q[2], q[4], q[6]);
            words[1][t] = pack_bytes(q[1], q[3], q[5], q[7]);
        }
    }

    int stage = unit >> 2, j = unit & 3;
    if constexpr (kOrder == Order::kRows) {
        // Rows of whole stages, in the order of k.
        uint4* out = reinterpret_cast<uint4*>(p.a8 + (long long)m * ((p.k + kStage - 1) / kStage * kStage) + unit * kUnit);
        out[0] = first, out[1] = second;
    } else {
        *reinterpret_cast<uint4*>(p.a8 + chunk_offset(stage, p.a8_rows, m, 2 * j)) = first;
        *reinterpret_cast<uint4*>(p.a8 + chunk_offset(stage, p.a8_rows, m, 2 * j + 1)) = second;
    }
}

template <int kType, Order kOrder>
__device__ __forceinline__ void quantize_row(const Params& p) {
    let_next_kernel_start();
    wait_for_previous_kernel();
    int m = blockIdx.x;
    const u8* row = static_cast<const u8*>(p.a) + (long long)m * p.k * kBytes<kType>;
    bool aligned = (reinterpret_cast<u64>(row) & 15) == 0;
    int units = (p.k + kStage - 1) / kStage * (kStage / kUnit);

    Unit<kType> first;
    u32 max = 0;
    if (threadIdx.x < units) first = load_unit<kType, kOrder>(row, threadIdx.x, p.k, aligned), max = max_magnitude(first, 0);
    for (int unit = threadIdx.x + blockDim.x; unit < units; unit += blockDim.x)
        max = max_magnitude(load_unit<kType, kOrder>(row, unit, p.k, aligned), max);

    RowScale scale = row_scale(as_float_bits<kType>(block_max(max)));
    if (threadIdx.x == 0) p.a_scales[m] = scale.scale;
    if (threadIdx.x < units) store_unit<kType, kOrder>(p, m, threadIdx.x, first, scale.inverse);
    for (int unit = threadIdx.x + blockDim.x; unit < units; unit += blockDim.x)
        store_unit<kType, kOrder>(p, m, unit, load_unit<kType, kOrder>(row, unit, p.k, aligned), scale.inverse);
}

}  // namespace

#define QUANTIZE(order, Order, type, kType) \
    extern "C" __global__ void __launch_bounds__(kThreads) quantize_##order##_##type(const __grid_constant__ Params p) { quantize_row<kType, Order>(p); }
#define QUANTIZE_TYPES(order, Order)                \
    QUANTIZE(order, Order, float, kFloat)           \
    QUANTIZE(order, Order, float16, kFloat16)       \
    QUANTIZE(order, Order, bfloat16, kBFloat16)

QUANTIZE_TYPES(rows, Order::kRows)
QUANTIZE_TYPES(b32, Order::kBlock32)
QUANTIZE_TYPES(b64, Order::kBlock64)
QUANTIZE_TYPES(b128, Order::kBlock128)
