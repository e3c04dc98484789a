// Codes to signed bytes. A word holds eight 4-bit codes; the first result takes the low nibbles (even k), the second the high ones.
#pragma once
#include "intscale.cuh"

// How a tensor-core kernel unpacks codes and folds the int32 sum of a group into a row's sum.
enum class Fold {
    kInteger16,  // codes as 16 * (q - 8): 3 instructions a word; sums are 16 times too large, so the certificate must leave 4 bits
    kInteger1,   // q - zero point, any zero point
    kScaled,     // scale * (q - 8), where that always fits int8: nothing is left to fold, and the tensor cores add up all of K
    kFloat16,    // as kInteger16, but the group's sum becomes a float and is multiplied by a float16 scale: the twin, for comparison
};

struct Bytes {
    u32 even, odd;
};

// (a & b) ^ c in one instruction, which takes one constant only in place: the other comes in a register (see constant()).
__device__ __forceinline__ u32 and_xor(u32 a, u32 b, u32 c) {
    u32 d;
    asm("lop3.b32 %0, %1, %2, %3, 0x6A;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}

// A constant that the compiler keeps in a register.
__device__ __forceinline__ u32 constant(u32 value) {
    u32 c;
    asm volatile("mov.b32 %0, %1;" : "=r"(c) : "r"(value));
    return c;
}

// 16 * (q - 8), given constant(0x80808080): a nibble's top bit flipped is its two's complement, and in the upper half of a byte it is 16 times that.
__device__ __forceinline__ Bytes unpack16(u32 w, u32 tops) { return {and_xor(w << 4, 0xF0F0F0F0u, tops), and_xor(w, 0xF0F0F0F0u, tops)}; }

// q - zero point, from (128 - zero point) in each byte of `bias`: no byte carries into the next, whatever the zero point.
__device__ __forceinline__ Bytes unpack1(u32 w, u32 bias) {
    // Masked before the shift, which is then one instruction together with the addition.
    return {((w & 0x0F0F0F0Fu) + bias) ^ 0x80808080u, (((w & 0xF0F0F0F0u) >> 4) + bias) ^ 0x80808080u};
}

// scale * (q - 8) for scales of -15 to 15, given scaled_bias(scale): 7 instructions a word. Bytes of scale * q + 128 - 8 * scale lie in 8 to 248, so none carries.
__device__ __forceinline__ Bytes unpack_scaled(u32 w, int scale, u32 bias) {
    return {((w & 0x0F0F0F0Fu) * (u32)scale + bias) ^ 0x80808080u, ((w >> 4 & 0x0F0F0F0Fu) * (u32)scale + bias) ^ 0x80808080u};
}

__device__ __forceinline__ u32 scaled_bias(int scale) { return (u32)(128 - 8 * scale) * 0x01010101u; }

__device__ __forceinline__ u32 zero_point_bias(int zero_point) { return (u32)(128 - zero_point) * 0x01010101u; }
