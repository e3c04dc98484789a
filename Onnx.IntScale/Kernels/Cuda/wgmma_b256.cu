// Hopper kernels for blocks of 256 weights.
#include "wgmma.cuh"

WGMMA_BLOCK(256)

// The twin, to measure what integer scales buy.
WGMMA(256, 128, 8, f16, Fold::kFloat16)
