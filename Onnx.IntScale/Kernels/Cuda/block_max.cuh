// The largest value of a thread block.
#pragma once
#include "intscale.cuh"

// For every thread; at most kMostThreads of them, whole warps.
template <int kMostThreads>
__device__ __forceinline__ u32 block_max(u32 value) {
    __shared__ u32 warps[kMostThreads / 32];
    value = __reduce_max_sync(~0u, value);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
    __syncthreads();
    u32 lane = threadIdx.x % 32;
    return __reduce_max_sync(~0u, lane < blockDim.x / 32 ? warps[lane] : 0);
}
