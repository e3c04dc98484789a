// Asynchronous copies into shared memory, and the barriers of the bulk ones.
#pragma once
#include "intscale.cuh"

// 4 bytes.
__device__ __forceinline__ void copy4(u32 shared, const void* global) { asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared), "l"(global) : "memory"); }

// Arrives once this thread's copies so far are complete.
__device__ __forceinline__ void arrive_when_copied(u32 barrier) { asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory"); }

__device__ __forceinline__ void init_barrier(u32 barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

__device__ __forceinline__ void arrive(u32 barrier) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory"); }

// The one arrival of a barrier that also waits for `bytes` of bulk copies.
__device__ __forceinline__ void arrive_expecting(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

__device__ __forceinline__ void wait_for_phase(u32 barrier, u32 parity) {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@!done bra again;\n"
        "}\n" ::"r"(barrier), "r"(parity) : "memory");
}

// Whether a phase is over: asked early, the answer costs nothing later.
__device__ __forceinline__ bool is_over(u32 barrier, u32 parity) {
    u32 over;
    asm volatile("{\n.reg .pred over;\nmbarrier.test_wait.parity.shared::cta.b64 over, [%1], %2;\nselp.u32 %0, 1, 0, over;\n}\n" : "=r"(over) : "r"(barrier), "r"(parity) : "memory");
    return over != 0;
}

// A contiguous copy by the copy engine, 16-byte aligned.
__device__ __forceinline__ void bulk_copy(u32 shared, const void* global, u32 bytes, u32 barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared), "l"(global), "r"(bytes), "r"(barrier)
                 : "memory");
}

// What cuTensorMapEncodeTiled makes: here of B as bytes [N, row bytes], in boxes of 64 rows by 64 bytes, 64-byte swizzle. Past the matrix are zeros.
struct alignas(64) TensorMap {
    u64 words[16];
};

// `policy`: of L2 (cache_policy.cuh).
__device__ __forceinline__ void tensor_copy(u32 shared, const TensorMap& map, int x, int y, u32 barrier, u64 policy) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(shared), "l"(&map), "r"(x), "r"(y),
                 "r"(barrier), "l"(policy)
                 : "memory");
}

__device__ __forceinline__ void store_shared(u32 address, int4 v) {
    asm volatile("st.shared.v4.s32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

__device__ __forceinline__ int4 load_shared(u32 address) {
    int4 v;
    asm volatile("ld.shared.v4.s32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(address) : "memory");
    return v;
}
