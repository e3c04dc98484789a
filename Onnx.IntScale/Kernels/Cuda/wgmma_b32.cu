// Hopper kernels for blocks of 32 weights.
#include "wgmma.cuh"

WGMMA_BLOCK(32)
