// Hopper kernels for blocks of 128 weights.
#include "wgmma.cuh"

WGMMA_BLOCK(128)

// The twin, to measure what integer scales buy.
WGMMA(128, 16, 16, f16, Fold::kFloat16)
WGMMA(128, 128, 8, f16, Fold::kFloat16)
