// One token (M = 1), 4 bits, blocks of 32 to 256: a warp a row of B at a time, dp4a.
//
// Codes stream from device memory, and nothing else takes long, so loads of codes are always in flight: the first ones before the
// previous kernel is over, and those of the next batch while one is multiplied. Each thread block quantizes A for itself, which
// costs less than one more kernel: even k and odd k apart, as a word's low and high nibbles are.
#include "block_max.cuh"
#include "cache_policy.cuh"

namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
constexpr int kChunk = 32;  // weights of one 16-byte load
constexpr int kBatch = 4;   // loads of a lane in flight together

// A in shared memory: a chunk's even k are 16 bytes of `even`, its odd k of `odd`, and its codes sum to `sums`.
struct Activations {
    u32 *even, *odd;
    int* sums;
};

// Eight elements of A as floats; zeros past K.
template <int kType>
__device__ __forceinline__ void load_eight(const Params& p, int unit, bool aligned, float (&x)[8]) {
    int k = unit * 8;
    if (aligned && k + 8 <= p.k) {
        const uint4* source = reinterpret_cast<const uint4*>(static_cast<const u8*>(p.a) + (long long)k * kBytes<kType>);
        uint4 v = source[0];
        u32 words[4] = {v.x, v.y, v.z, v.w};
        if constexpr (kType == kFloat) {
            uint4 w = source[1];
            u32 more[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
            for (int i = 0; i < 4; i++) x[i] = __uint_as_float(words[i]), x[i + 4] = __uint_as_float(more[i]);
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++) x[2 * i] = widen<kType>((u16)words[i]), x[2 * i + 1] = widen<kType>((u16)(words[i] >> 16));
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++) x[i] = k + i < p.k ? load_element(p.a, kType, k + i) : 0.0f;
}

// Quantizes A, the same in every thread block; returns a_scale.
template <int kType>
__device__ __forceinline__ float quantize_activations(const Params& p, const Activations& a) {
    bool aligned = (reinterpret_cast<u64>(p.a) & 15) == 0;
    int units = p.k_blocks * p.block_size / 8;
    float x[8];
    u32 max = 0;
    for (int unit = threadIdx.x; unit < units; unit += kThreads) {
        load_eight<kType>(p, unit, aligned, x);
#pragma unroll
        for (int i = 0; i < 8; i++) max = umax(max, float_bits(x[i]) & 0x7FFFFFFF);
    }
    RowScale scale = row_scale(block_max<kThreads>(max));
    // Units are whole blocks, so a chunk's four threads are all here or none is.
    for (int unit = threadIdx.x; unit < units; unit += kThreads) {
        if (units > kThreads) load_eight<kType>(p, unit, aligned, x);
        u32 q[8];
#pragma unroll
        for (int i = 0; i < 8; i++) q[i] = scale.inverse != 0.0f ? quantize(x[i], scale.inverse) : 0;
        u32 even = pack_bytes(q[0], q[2], q[4], q[6]), odd = pack_bytes(q[1], q[3], q[5], q[7]);
        a.even[unit] = even, a.odd[unit] = odd;
        int sum = __dp4a((int)even, 0x01010101, __dp4a((int)odd, 0x01010101, 0));
        u32 together = 0xFu << (threadIdx.x & 28);
        sum += __shfl_xor_sync(together, sum, 1);
        sum += __shfl_xor_sync(together, sum, 2);
        if (unit % 4 == 0) a.sums[unit / 4] = sum;
    }
    __syncthreads();
    return scale.scale;
}

// Codes, scale and zero point of a lane's chunks of one batch; chunks past the row have the scale 0.
struct Batch {
    uint4 codes[kBatch];
    i16 scales[kBatch];
};

__device__ __forceinline__ uint4 load_codes(const u8* source) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::cache_hint.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4], %5;" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(source), "l"(evict_first()));
    return v;
}

__device__ __forceinline__ Batch load_batch(const Params& p, int row, int first, int chunks, int log_chunks_per_block) {
    Batch batch;
    const u8* codes = p.b + (long long)row * chunks * 16;
    const i16* scales = p.scales + (long long)row * p.k_blocks;
#pragma unroll
    for (int i = 0; i < kBatch; i++) {
        int chunk = first + i * 32 + threadIdx.x % 32;
        batch.codes[i] = chunk < chunks ? load_codes(codes + (long long)chunk * 16) : make_uint4(0, 0, 0, 0);
        batch.scales[i] = chunk < chunks ? __ldg(scales + (chunk >> log_chunks_per_block)) : (i16)0;
    }
    return batch;
}

__device__ __forceinline__ int zero_point(const Params& p, int row, int block) {
    if (p.zero_points == nullptr) return 8;
    u8 pair = __ldg(p.zero_points + (long long)row * ((p.k_blocks + 1) / 2) + block / 2);
    return block % 2 ? pair >> 4 : pair & 15;
}

// sum over a lane's chunks of scale * (sum of codes * a8 - zero point * sum of a8)
__device__ __forceinline__ int multiply(const Params& p, const Batch& batch, int row, int first, int chunks, int log_chunks_per_block, const Activations& a) {
    int acc = 0;
#pragma unroll
    for (int i = 0; i < kBatch; i++) {
        int chunk = first + i * 32 + threadIdx.x % 32;
        if (chunk >= chunks) break;
        uint4 even = reinterpret_cast<const uint4*>(a.even)[chunk], odd = reinterpret_cast<const uint4*>(a.odd)[chunk];
        uint4 w = batch.codes[i];
        constexpr u32 kLow = 0x0F0F0F0F;
        int dot = __dp4a((int)(w.x & kLow), (int)even.x, 0);
        dot = __dp4a((int)(w.x >> 4 & kLow), (int)odd.x, dot);
        dot = __dp4a((int)(w.y & kLow), (int)even.y, dot);
        dot = __dp4a((int)(w.y >> 4 & kLow), (int)odd.y, dot);
        dot = __dp4a((int)(w.z & kLow), (int)even.z, dot);
        dot = __dp4a((int)(w.z >> 4 & kLow), (int)odd.z, dot);
        dot = __dp4a((int)(w.w & kLow), (int)even.w, dot);
        dot = __dp4a((int)(w.w >> 4 & kLow), (int)odd.w, dot);
        dot -= zero_point(p, row, chunk >> log_chunks_per_block) * a.sums[chunk];
        acc += batch.scales[i] * dot;
    }
    return acc;
}

template <int kType>
__device__ __forceinline__ void gemv(const Params& p) {
    extern __shared__ uint4 shared[];
    int chunks = p.k_blocks * p.block_size / kChunk;
    Activations a{reinterpret_cast<u32*>(shared), reinterpret_cast<u32*>(shared + chunks), reinterpret_cast<int*>(shared + 2 * chunks)};
    int log_chunks_per_block = __ffs(p.block_size / kChunk) - 1;

    int row = blockIdx.x * kWarps + threadIdx.x / 32, first = 0;
    Batch next;
    if (row < p.n) next = load_batch(p, row, 0, chunks, log_chunks_per_block);
    let_next_kernel_start();
    wait_for_previous_kernel();
    float a_scale = quantize_activations<kType>(p, a);

    int acc = 0;
    while (row < p.n) {
        Batch batch = next;
        int this_row = row, this_first = first;
        first += kBatch * 32;
        if (first >= chunks) first = 0, row += gridDim.x * kWarps;
        if (row < p.n) next = load_batch(p, row, first, chunks, log_chunks_per_block);
        acc += multiply(p, batch, this_row, this_first, chunks, log_chunks_per_block, a);
        if (row == this_row) continue;
        acc = __reduce_add_sync(~0u, acc);
        if (threadIdx.x % 32 == 0) {
            float y = rescale(acc, a_scale, p.channel_scales[this_row]);
            if (p.bias != nullptr) y = __fadd_rn(y, load_element(p.bias, kType, this_row));
            store_element(p.y, kType, this_row, y);
        }
        acc = 0;
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, 2) gemv_float(const __grid_constant__ Params p) { gemv<kFloat>(p); }
extern "C" __global__ void __launch_bounds__(kThreads, 2) gemv_float16(const __grid_constant__ Params p) { gemv<kFloat16>(p); }
extern "C" __global__ void __launch_bounds__(kThreads, 2) gemv_bfloat16(const __grid_constant__ Params p) { gemv<kBFloat16>(p); }
