// What CUDA C++ has besides C++, as far as the kernels use it.
#pragma once
#include <math.h>
#include "machine.h"

#define __CUDA_ARCH__ 900
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define threadIdx emu::thread_index
#define blockIdx emu::block_index
#define blockDim emu::block_size
#define gridDim emu::grid_size

struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) float2 { float x, y; };
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }

// Threads together.
inline void __syncthreads() { emu::barrier_all(); }
inline void __syncwarp(unsigned mask = ~0u) {
    int none = 0;
    emu::meet(mask, none, [](int**) {});
}
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
inline T shuffle(unsigned mask, T value, unsigned source) {
    struct Lane { T value, result; unsigned source; } lane{value, value, source};
    emu::meet(mask, lane, [mask](Lane** all) {
        for (int i = 0; i < 32; i++) {
            if (!(mask >> i & 1)) continue;
            if (!(mask >> all[i]->source & 1)) emu::fail("shuffle from a lane that is not there");
            all[i]->result = all[all[i]->source]->value;
        }
    });
    return lane.result;
}
template <class T> inline T __shfl_sync(unsigned mask, T v, int source) { return shuffle(mask, v, source & 31); }
template <class T> inline T __shfl_xor_sync(unsigned mask, T v, int x) { return shuffle(mask, v, threadIdx.x % 32 ^ x); }
template <class T> inline T __shfl_down_sync(unsigned mask, T v, unsigned d) {
    unsigned lane = threadIdx.x % 32;
    return shuffle(mask, v, lane + d < 32 ? lane + d : lane);
}

template <class T, class F>
inline T reduce(unsigned mask, T value, F f) {
    struct Lane { T value, result; } lane{value, value};
    emu::meet(mask, lane, [mask, f](Lane** all) {
        int first = __builtin_ctz(mask);
        T r = all[first]->value;
        for (int i = first + 1; i < 32; i++)
            if (mask >> i & 1) r = f(r, all[i]->value);
        for (int i = 0; i < 32; i++)
            if (mask >> i & 1) all[i]->result = r;
    });
    return lane.result;
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned v) { return reduce(mask, v, [](unsigned a, unsigned b) { return a > b ? a : b; }); }
inline unsigned __reduce_add_sync(unsigned mask, unsigned v) { return reduce(mask, v, [](unsigned a, unsigned b) { return a + b; }); }
inline int __reduce_add_sync(unsigned mask, int v) { return (int)__reduce_add_sync(mask, (unsigned)v); }

// Blocks take turns only where they wait.
template <class T> inline T atomicMax(T* p, T v) { T old = *p; *p = v > old ? v : old; return old; }
template <class T> inline T atomicAdd(T* p, T v) { T old = *p; *p += v; return old; }

template <class T> inline T __ldg(const T* p) { emu::check_range(p, sizeof(T), "ldg"); return *p; }
inline uint64_t __cvta_generic_to_shared(const void* p) { return (const unsigned char*)p - emu::dynamic_shared + emu::shared_base; }

// Numbers.
inline unsigned umax(unsigned a, unsigned b) { return a > b ? a : b; }
inline unsigned umin(unsigned a, unsigned b) { return a < b ? a : b; }
template <class T> inline T min(T a, T b) { return a < b ? a : b; }
template <class T> inline T max(T a, T b) { return a > b ? a : b; }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, 4); return f; }
inline unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, 4); return u; }
inline float __int_as_float(int u) { return __uint_as_float(u); }
inline int __float_as_int(float f) { return __float_as_uint(f); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __int2float_rn(int i) { return (float)i; }

// Bytes of a word.
template <class F>
inline unsigned each_byte(unsigned a, unsigned b, F f) {
    unsigned r = 0;
    for (int i = 0; i < 32; i += 8) r |= (unsigned)(uint8_t)f((uint8_t)(a >> i), (uint8_t)(b >> i)) << i;
    return r;
}
inline unsigned __vabsdiffu4(unsigned a, unsigned b) { return each_byte(a, b, [](int x, int y) { return abs(x - y); }); }
inline unsigned __vsub4(unsigned a, unsigned b) { return each_byte(a, b, [](int x, int y) { return x - y; }); }
inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 32; i += 8) c += (int8_t)(a >> i) * (int8_t)(b >> i);
    return c;
}
inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
    for (int i = 0; i < 32; i += 8) c += (uint8_t)(a >> i) * (uint8_t)(b >> i);
    return c;
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    uint64_t v = (uint64_t)b << 32 | a;
    unsigned r = 0;
    for (int i = 0; i < 4; i++) r |= (unsigned)(uint8_t)(v >> 8 * (selector >> 4 * i & 7)) << 8 * i;
    return r;
}
