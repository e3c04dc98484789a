// One token (M = 1), 4 bits, blocks of 32 to 256: a warp a row of B at a time, dp4a.
//
// Codes stream from device memory, and nothing else takes long, so loads of codes are always in flight: the first ones before the
// previous kernel is over, and those of the next batch while one is multiplied. Each thread block quantizes A for itself, which
// costs less than one more kernel: even k and odd k apart, as a word's low and high nibbles are.
#include "block_max.cuh"
#include "cache_policy.cuh"
#include "quantize_row.cuh"

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

// Segments of eight elements that a thread keeps in registers between finding the maximum and rounding; those of longer rows are loaded again.
template <int kType>
constexpr int kKept = kType == kFloat ? 1 : 4;

template <int kType>
struct Segment {
    u32 words[Unit<kType>::kSegmentWords];

    __device__ __forceinline__ float element(int i) const {
        if constexpr (kType == kFloat) return __uint_as_float(words[i]);
        else return widen<kType>((u16)(words[i / 2] >> (i % 2 * 16)));
    }
};

template <int kType>
__device__ __forceinline__ u32 larger_of(const Segment<kType>& s, u32 max) {
#pragma unroll
    for (int i = 0; i < Unit<kType>::kSegmentWords; i++) max = max_magnitude<kType>(s.words[i], max);
    return max;
}

// The codes of segment i, of the four of its chunk by four lanes.
template <int kType>
__device__ __forceinline__ void store_codes(const Activations& a, int i, const Segment<kType>& s, float inverse) {
    u32 q[8];
#pragma unroll
    for (int e = 0; e < 8; e++) q[e] = inverse != 0.0f ? quantize(s.element(e), inverse) : 0;
    u32 even = pack_bytes(q[0], q[2], q[4], q[6]), odd = pack_bytes(q[1], q[3], q[5], q[7]);
    a.even[i] = even, a.odd[i] = odd;
    int sum = __dp4a((int)even, 0x01010101, __dp4a((int)odd, 0x01010101, 0));
    u32 together = 0xFu << (threadIdx.x & 28);
    sum += __shfl_xor_sync(together, sum, 1);
    sum += __shfl_xor_sync(together, sum, 2);
    if (i % 4 == 0) a.sums[i / 4] = sum;
}

// Quantizes A, the same in every thread block; returns a_scale. All loads of a row of usual length are under way together.
template <int kType>
__device__ __forceinline__ float quantize_activations(const Params& p, const Activations& a) {
    const u8* row = row_of<kType>(p, 0);
    bool aligned = is_aligned(row);
    int segments = p.k_blocks * p.block_size / 8;  // whole chunks, so that a chunk's four threads are all here or none is
    Segment<kType> kept[kKept<kType>], more;
    u32 max = 0;
#pragma unroll
    for (int i = 0; i < kKept<kType>; i++) {
        int segment = threadIdx.x + i * kThreads;
        if (segment < segments) load_segment<kType>(kept[i].words, row, segment * 8, p.k, aligned);
    }
#pragma unroll
    for (int i = 0; i < kKept<kType>; i++)
        if ((int)threadIdx.x + i * kThreads < segments) max = larger_of(kept[i], max);
#pragma unroll 1
    for (int segment = threadIdx.x + kKept<kType> * kThreads; segment < segments; segment += kThreads) {
        load_segment<kType>(more.words, row, segment * 8, p.k, aligned);
        max = larger_of(more, max);
    }
    RowScale scale = row_scale(as_float_bits<kType>(block_max<kThreads>(whole_max<kType>(max))));
#pragma unroll
    for (int i = 0; i < kKept<kType>; i++) {
        int segment = threadIdx.x + i * kThreads;
        if (segment < segments) store_codes(a, segment, kept[i], scale.inverse);
    }
#pragma unroll 1
    for (int segment = threadIdx.x + kKept<kType> * kThreads; segment < segments; segment += kThreads) {
        load_segment<kType>(more.words, row, segment * 8, p.k, aligned);
        store_codes(a, segment, more, scale.inverse);
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
