// Thread blocks of one cluster: their shared memory, and barriers between them that don't wait for global memory.
#pragma once
#include "async_copy.cuh"

__device__ __forceinline__ u32 cluster_rank() {
    u32 r;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
    return r;
}

__device__ __forceinline__ u32 cluster_size() {
    u32 r;
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(r));
    return r;
}

// Every thread of the cluster arrives and waits in turn. Says nothing of what was written, and so needs no fence.
__device__ __forceinline__ void arrive_at_cluster() { asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory"); }
__device__ __forceinline__ void wait_for_cluster() { asm volatile("barrier.cluster.wait;" ::: "memory"); }

// Where a block of the cluster has what this block has at `shared`.
__device__ __forceinline__ u32 address_at(u32 shared, u32 rank) {
    u32 there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(shared), "r"(rank));
    return there;
}

// Stores to a block of the cluster, counted in bytes by a barrier there: who waits for the bytes sees them.
__device__ __forceinline__ void store_cluster(u32 address, int4 v, u32 barrier) {
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.s32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w), "r"(barrier)
                 : "memory");
}
