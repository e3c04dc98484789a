// What every kernel shares: the one parameter, the element types of A, bias and Y, and the two float steps whose rounding
// the specification fixes. No CUDA headers, so that any compiler of CUDA C++ takes it.
#pragma once

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i8 = signed char;
using i16 = short;

// The parameter of every kernel, by value; CudaParams.cs mirrors it.
struct Params {
    const void* a;                // T [M, K]
    const u8* b;                  // [N, k_blocks, block_bytes]
    const i16* scales;            // [N, k_blocks]; the float twins read float16 here
    const float* channel_scales;  // [N]
    const u8* zero_points;        // [N, (k_blocks * bits + 7) / 8], or null
    const void* bias;             // T [N], or null
    void* y;                      // T [M, N]
    i8* a8;                       // scratch: quantized activations, in the matmul kernel's order
    float* a_scales;              // scratch [M]
    int m, n, k, k_blocks, block_size, bits;
    int type;                     // ONNX's number of T
    int a8_rows;                  // rows that a8 has room for: M rounded up to whole token tiles
};

// Element types, numbered as in ONNX.
constexpr int kFloat = 1, kFloat16 = 10, kBFloat16 = 16;

template <int kType>
constexpr int kBytes = kType == kFloat ? 4 : 2;

__device__ __forceinline__ u32 float_bits(float x) { return __float_as_uint(x); }

__device__ __forceinline__ float half_to_float(u16 h) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}

__device__ __forceinline__ u16 float_to_half(float f) {
    u16 h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
}

__device__ __forceinline__ float bfloat_to_float(u16 b) { return __uint_as_float((u32)b << 16); }

// The value of 16 bits of type kType.
template <int kType>
__device__ __forceinline__ float widen(u16 bits) {
    if constexpr (kType == kFloat16) return half_to_float(bits);
    else return bfloat_to_float(bits);
}

// Ties to even; a NaN keeps its upper bits and stays quiet, as the specification's does.
__device__ __forceinline__ u16 float_to_bfloat(float f) {
    u32 bits = float_bits(f);
    if ((bits & 0x7FFFFFFF) > 0x7F800000) return (u16)((bits >> 16) | 0x40);
    return (u16)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

// Element i of an array of a run-time type.
__device__ __forceinline__ float load_element(const void* data, int type, long long i) {
    if (type == kFloat) return static_cast<const float*>(data)[i];
    u16 bits = static_cast<const u16*>(data)[i];
    return type == kFloat16 ? half_to_float(bits) : bfloat_to_float(bits);
}

__device__ __forceinline__ u16 narrow(float value, int type) { return type == kFloat16 ? float_to_half(value) : float_to_bfloat(value); }

__device__ __forceinline__ void store_element(void* data, int type, long long i, float value) {
    if (type == kFloat) static_cast<float*>(data)[i] = value;
    else static_cast<u16*>(data)[i] = narrow(value, type);
}

// a_scale and 127 / max of a row, from the bits of max_k |A[m,k]|; the inverse is 0 where all codes are: a row with a NaN or an
// infinity (its outputs become NaN) and one of zeros or so small that 127 / max overflows.
struct RowScale {
    float scale, inverse;
};

__device__ __forceinline__ RowScale row_scale(u32 max_bits) {
    if (max_bits >= 0x7F800000) return {__uint_as_float(0x7FFFFFFF), 0.0f};
    float max = __uint_as_float(max_bits);
    float inverse = __fdiv_rn(127.0f, max);
    return float_bits(inverse) < 0x7F800000 ? RowScale{__fdiv_rn(max, 127.0f), inverse} : RowScale{0.0f, 0.0f};
}

// round_half_even(x * inverse) in the low byte. Two roundings, never a fused multiply-add: adding 1.5 * 2^23 rounds to an integer.
__device__ __forceinline__ u32 quantize(float x, float inverse) { return float_bits(__fadd_rn(__fmul_rn(x, inverse), 12582912.0f)); }

// The low bytes of four words, the first lowest.
__device__ __forceinline__ u32 pack_bytes(u32 a, u32 b, u32 c, u32 d) {
    return __byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, d, 0x0040), 0x5410);
}

// Y = float(acc) * (a_scale * channel_scale) + bias, each operation rounded by itself.
__device__ __forceinline__ float rescale(int acc, float a_scale, float channel_scale) {
    return __fmul_rn(__int2float_rn(acc), __fmul_rn(a_scale, channel_scale));
}

// Programmatic dependent launch: a kernel may start while the one before it in the stream still runs. Everything that the one before
// may have written (A, scratch), and everything that it may still read (memory that is reused for Y), waits; constants need not.
__device__ __forceinline__ void wait_for_previous_kernel() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ void let_next_kernel_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

__device__ __forceinline__ u32 shared_address(const void* p) { return static_cast<u32>(__cvta_generic_to_shared(p)); }
