// Hopper kernels for blocks of 64 weights.
#include "wgmma.cuh"

WGMMA_BLOCK(64)

// The twin, to measure what integer scales buy.
WGMMA(64, 128, 8, f16, Fold::kFloat16)
