// What L2 does with what a load brings, as an operand of loads.
#pragma once
#include "intscale.cuh"

// To be replaced first: for codes that are read once. They would push out what is read again, and A and Y besides.
__device__ __forceinline__ u64 evict_first() {
    u64 policy;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

// As without a policy.
__device__ __forceinline__ u64 evict_normally() {
    u64 policy;
    asm("createpolicy.fractional.L2::evict_normal.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}
