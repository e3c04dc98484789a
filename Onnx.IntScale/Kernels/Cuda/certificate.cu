// The certificate of stored weights: max over n of 127 * sum_g |scales[n,g]| * sum_{k in g, k < K} |q - zp|, into the 64 bits at y,
// and max |scales| into the 64 bits after them, which the host has zeroed. A warp a row at a time; every byte of B is read once.
#include "intscale.cuh"

namespace {

constexpr int kThreads = 256;
constexpr int kUnitBytes = 8;  // a lane's load, which never crosses a block
constexpr int kBatch = 4;      // loads of a lane in flight together

// sum + the four |a - b| of unsigned bytes.
__device__ __forceinline__ u32 add_distances(u32 a, u32 b, u32 sum) {
    u32 result;
    asm("vabsdiff4.u32.u32.u32.add %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

// The low `count` bytes of a word, count possibly beyond either end.
__device__ __forceinline__ u32 low_bytes(int count) { return count >= 4 ? ~0u : count <= 0 ? 0u : (1u << (8 * count)) - 1; }

// sum of |q - zp| over the first `count` codes of a unit.
template <int kBits>
__device__ __forceinline__ u32 magnitude(uint2 codes, u32 zero, int count) {
    u32 sum = 0, zeros = zero * 0x01010101, words[2] = {codes.x, codes.y};
#pragma unroll
    for (int i = 0; i < 2; i++) {
        if constexpr (kBits == 4) {
            u32 even = low_bytes((count + 1) / 2 - 4 * i), odd = low_bytes(count / 2 - 4 * i);
            sum = add_distances(words[i] & 0x0F0F0F0F & even, zeros & even, sum);
            sum = add_distances(words[i] >> 4 & 0x0F0F0F0F & odd, zeros & odd, sum);
        } else {
            u32 valid = low_bytes(count - 4 * i);
            sum = add_distances(words[i] & valid, zeros & valid, sum);
        }
    }
    return sum;
}

template <int kBits>
__device__ __forceinline__ u32 zero_point(const u8* zero_points, int block) {
    if (zero_points == nullptr) return 1 << (kBits - 1);
    if constexpr (kBits == 8) return __ldg(zero_points + block);
    u8 pair = __ldg(zero_points + block / 2);
    return block % 2 ? pair >> 4 : pair & 15;
}

// A lane's part of row n.
template <int kBits>
__device__ __forceinline__ u64 part_of_row(const Params& p, int n, int& largest_scale) {
    constexpr int kCodes = kUnitBytes * 8 / kBits;
    int units = (p.k + kCodes - 1) / kCodes;
    int log_units_per_block = __ffs(p.block_size / kCodes) - 1;
    const uint2* row = reinterpret_cast<const uint2*>(p.b + (long long)n * p.k_blocks * (p.block_size * kBits / 8));
    const u8* zero_points = p.zero_points == nullptr ? nullptr : p.zero_points + (long long)n * ((p.k_blocks * kBits + 7) / 8);
    const i16* scales = p.scales + (long long)n * p.k_blocks;
    u64 sum = 0;
    for (int first = threadIdx.x % 32; first < units; first += 32 * kBatch) {
        uint2 codes[kBatch];
        int scale[kBatch];
        u32 zero[kBatch];
#pragma unroll
        for (int i = 0; i < kBatch; i++) {
            int unit = min(first + 32 * i, units - 1), block = unit >> log_units_per_block;
            codes[i] = __ldg(row + unit), scale[i] = __ldg(scales + block), zero[i] = zero_point<kBits>(zero_points, block);
        }
#pragma unroll
        for (int i = 0; i < kBatch; i++) {
            int unit = first + 32 * i;
            // Units past the row have no codes.
            int count = min(kCodes, max(0, p.k - unit * kCodes));
            // A unit past the row has the row's last scale.
            largest_scale = max(largest_scale, abs(scale[i]));
            sum += (u64)(u32)abs(scale[i]) * magnitude<kBits>(codes[i], zero[i], count);
        }
    }
    return sum;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads) certificate(const __grid_constant__ Params p) {
    u64 largest = 0;
    int largest_scale = 0;
    for (int n = (blockIdx.x * kThreads + threadIdx.x) / 32; n < p.n; n += gridDim.x * (kThreads / 32)) {
        u64 sum = p.bits == 8 ? part_of_row<8>(p, n, largest_scale) : part_of_row<4>(p, n, largest_scale);
#pragma unroll
        for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
        if (sum > largest) largest = sum;
    }
    largest_scale = __reduce_max_sync(~0u, largest_scale);
    wait_for_previous_kernel();
    if (threadIdx.x % 32 != 0) return;
    atomicMax(static_cast<u64*>(p.y), 127 * largest);
    atomicMax(static_cast<u64*>(p.y) + 1, (u64)largest_scale);
}
