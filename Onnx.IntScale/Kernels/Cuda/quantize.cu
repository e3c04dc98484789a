// Dynamic int8 quantization of A, one block a row, into a8 and a_scales. A row of up to 32768 stays in registers.
//
// Few blocks of few threads find room beside the product before, whose end they wait for; the others begin when that product's do, and take the place
// of the next one's (benchmarks/cuda.md). So WgmmaPlan.cs gives a long row no more threads than need be.
#include "block_max.cuh"
#include "quantize_row.cuh"

namespace {

constexpr int kThreads = 512;  // at most
constexpr int kHeld = 2;       // units that a thread keeps in registers between finding the maximum and rounding, where the row is whole and aligned

template <int kType, Order kOrder>
__device__ __forceinline__ void store(const Params& p, int m, int unit, const Unit<kType>& u, float inverse) {
    UnitCodes codes = quantize_unit<kType, kOrder>(u, inverse);
    if constexpr (kOrder == Order::kRows) {
        // Rows of whole stages, in the order of k.
        uint4* out = reinterpret_cast<uint4*>(p.a8 + (long long)m * units_of(p) * kUnit + unit * kUnit);
        out[0] = codes.first, out[1] = codes.second;
    } else store_unit(p.a8, p.a8_rows, m, unit, codes);
}

template <int kType, Order kOrder>
__device__ __forceinline__ void quantize_row(const Params& p) {
    let_next_kernel_start();
    wait_for_previous_kernel();
    int m = blockIdx.x;
    if (m >= p.m) return;  // blocks come in whole clusters
    const u8* row = row_of<kType>(p, m);
    bool aligned = is_aligned(row);
    int units = units_of(p);

    u32 max = 0;
    if (__builtin_expect(aligned && p.k % kStage == 0 && units <= kHeld * (int)blockDim.x, true)) {  // the usual case, short and straight
        Unit<kType> held[kHeld];
        auto each = [&](auto work) {
#pragma unroll
            for (int i = 0; i < kHeld; i++) {
                int unit = threadIdx.x + i * blockDim.x;
                if (unit < units) work(held[i], unit);
            }
        };
        each([&](Unit<kType>& u, int unit) { u = load_whole_unit<kType, kOrder>(row, unit); });
        each([&](Unit<kType>& u, int) { max = max_magnitude(u, max); });
        RowScale scale = row_scale(as_float_bits<kType>(block_max<kThreads>(whole_max<kType>(max))));
        each([&](Unit<kType>& u, int unit) { store<kType, kOrder>(p, m, unit, u, scale.inverse); });
        if (threadIdx.x == 0) p.a_scales[m] = scale.scale;
        return;
    }
    Unit<kType> first;
    if (threadIdx.x < units) first = load_unit<kType, kOrder>(row, threadIdx.x, p.k, aligned), max = max_magnitude(first, 0);
    for (int unit = threadIdx.x + blockDim.x; unit < units; unit += blockDim.x)
        max = max_magnitude(load_unit<kType, kOrder>(row, unit, p.k, aligned), max);

    RowScale scale = row_scale(as_float_bits<kType>(block_max<kThreads>(whole_max<kType>(max))));
    if (threadIdx.x == 0) p.a_scales[m] = scale.scale;
    if (threadIdx.x < units) store<kType, kOrder>(p, m, threadIdx.x, first, scale.inverse);
    for (int unit = threadIdx.x + blockDim.x; unit < units; unit += blockDim.x)
        store<kType, kOrder>(p, m, unit, load_unit<kType, kOrder>(row, unit, p.k, aligned), scale.inverse);
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
