// Tensor cores by mma.sync (sm_80 and later), 4 bits, blocks of 32 to 256: channels are the 16 rows of a fragment, tokens its 8 columns.
//
// A stage is 128 k: its codes and its activations come by cp.async into a ring of buffers. Where there are few tokens the groups of a
// thread block split K, each with a ring of its own (often of one warp, which then waits for nobody), and add their int32 sums at the
// end, which is exact in any order. Per block of K the products' sum is multiplied by the integer scale and added: no float until Y.
#include "mma_scales.cuh"
#include "mma_store.cuh"

namespace {

// A thread block's tile of Y and how its warps share the work: kGroups parts of K, in each kWarpsN x kWarpsM warps over channels and tokens.
template <int kTokens_, int kWarpsN_, int kWarpsM_, int kGroups_, int kBuffers_, int kBlocksPerSm_>
struct Tile {
    static constexpr int kTokens = kTokens_, kWarpsN = kWarpsN_, kWarpsM = kWarpsM_, kGroups = kGroups_, kBuffers = kBuffers_, kBlocksPerSm = kBlocksPerSm_;
    static constexpr int kChannels = kWarpsN * kWarpChannels;
    static constexpr int kWarpTokens = kTokens / kWarpsM;
    static constexpr int kGroupThreads = kWarpsN * kWarpsM * 32;
    static constexpr int kThreads = kGroupThreads * kGroups;
    static constexpr int kCodeBytes = kChannels * kRowBytes;
    static constexpr int kBufferBytes = kCodeBytes + kTokens * kStage;
    static constexpr int kRingBytes = kBufferBytes * kBuffers;
    static constexpr int kSumBytes = kGroups * kTokens * kSumStride<kChannels> * 4;
    static constexpr int kSharedBytes = kGroups * kRingBytes > kSumBytes ? kGroups * kRingBytes : kSumBytes;
    static_assert(kSharedBytes <= 99 * 1024, "what sm_86 and sm_89 give a thread block");
};

// Shared bytes are what a launch must ask for; threads are kThreads.
using Tile8 = Tile<8, 1, 1, 8, 3, 2>;      // 32 channels, 256 threads, 73728 bytes
using Tile16 = Tile<16, 1, 1, 4, 4, 3>;    // 32 channels, 128 threads, 65536 bytes
using Tile32 = Tile<32, 2, 1, 4, 3, 2>;    // 64 channels, 256 threads, 98304 bytes
using Tile64 = Tile<64, 2, 2, 2, 3, 2>;    // 64 channels, 256 threads, 73728 bytes
using Tile128 = Tile<128, 4, 2, 1, 4, 1>;  // 128 channels, 256 threads, 98304 bytes

template <class T>
__device__ __forceinline__ void group_sync(int group) {
    if constexpr (T::kGroupThreads == 32) __syncwarp();
    else barrier_sync(1 + group, T::kGroupThreads);
}

// Where in a buffer's activations a lane's row of the matrices of step 0 lies: two chunks of two columns' tokens each; of a single
// column four chunks, which are two steps.
template <int kColumns>
__device__ __forceinline__ u32 lane_activations(int first_token, int lane) {
    int matrix = lane / 8, row = lane % 8;
    int token = first_token + (kColumns == 1 ? row : matrix / 2 * 8 + row), chunk = kColumns == 1 ? matrix : matrix % 2;
    return token * kStage + ((chunk ^ row) << 4);
}

// Products of one warp over a stage, added to acc; `codes` and `activations` are a lane's addresses in the stage's buffer.
template <class T, int kBlock, bool kTimes16>
__device__ __forceinline__ void multiply_stage(int (&acc)[kFragments][T::kWarpTokens / 8][4], const StageScales<kBlock, kTimes16>& scales, int first_group, u32 codes,
                                               u32 activations) {
    constexpr int kColumns = T::kWarpTokens / 8;
    constexpr int kGroups = StageScales<kBlock, kTimes16>::kGroups;

    u32 words[kFragments][2][4];
#pragma unroll
    for (int f = 0; f < kFragments; f++)
#pragma unroll
        for (int half = 0; half < 2; half++) load_words<kBlock>(words[f][half], codes, (f * 2 + half) * 8 * kRowBytes);

#pragma unroll
    for (int group = 0; group < kGroups; group++) {
        u32 packed[kFragments][2];
#pragma unroll
        for (int f = 0; f < kFragments; f++)
#pragma unroll
            for (int half = 0; half < 2; half++) packed[f][half] = __shfl_sync(~0u, scales.packed(group, first_group), f * 16 + half * 8 + threadIdx.x % 32 / 4);

        int sums[kFragments][kColumns][4];
        u32 both_steps[4];
#pragma unroll
        for (int i = 0; i < 4 / kGroups; i++) {
            int j = group * (4 / kGroups) + i;
            u32 b[kColumns][2];
            if constexpr (kColumns == 1) {
                if (j % 2 == 0 || i == 0) load_matrices(both_steps, activations ^ (j & 2) << 5);
                b[0][0] = both_steps[j % 2 * 2], b[0][1] = both_steps[j % 2 * 2 + 1];
            } else {
#pragma unroll
                for (int c = 0; c < kColumns; c += 2) {
                    u32 v[4];
                    load_matrices(v, (activations ^ j << 5) + c * 8 * kStage);
                    b[c][0] = v[0], b[c][1] = v[1], b[c + 1][0] = v[2], b[c + 1][1] = v[3];
                }
            }
#pragma unroll
            for (int f = 0; f < kFragments; f++) {
                u32 a[4];
                unpack<kTimes16>(words[f][0][j], zeros_of(packed[f][0]), a[0], a[2]);
                unpack<kTimes16>(words[f][1][j], zeros_of(packed[f][1]), a[1], a[3]);
                constexpr int kZero[4] = {};
#pragma unroll
                for (int c = 0; c < kColumns; c++) {
                    if (i == 0) multiply_add(sums[f][c], a, b[c][0], b[c][1], kZero);
                    else multiply_add(sums[f][c], a, b[c][0], b[c][1], sums[f][c]);
                }
            }
        }
#pragma unroll
        for (int f = 0; f < kFragments; f++)
#pragma unroll
            for (int c = 0; c < kColumns; c++)
#pragma unroll
                for (int i = 0; i < 4; i++) acc[f][c][i] += sums[f][c][i] * scale_of(packed[f][i / 2]);
    }
}

// The tile of a thread block. Blocks that run together should share operands in L2: bands of eight token tiles, through all channels.
__device__ __forceinline__ void place(int& token_tile, int& channel_tile, int token_tiles, int channel_tiles) {
    constexpr int kBand = 8;
    token_tile = 0, channel_tile = blockIdx.x;
    if (token_tiles == 1) return;  // divisions would delay the first loads
    int band = blockIdx.x / (kBand * channel_tiles), within = blockIdx.x % (kBand * channel_tiles);
    int rows = min(kBand, token_tiles - band * kBand);
    token_tile = band * kBand + within % rows, channel_tile = within / rows;
}

// Grid: x = ceil(M / kTokens) * ceil(N / kChannels).
template <class T, int kBlock, bool kTimes16>
__device__ __forceinline__ void matmul(const Params& p) {
    extern __shared__ __align__(128) u8 shared[];
    let_next_kernel_start();
    int token_tile, channel_tile;
    place(token_tile, channel_tile, (p.m + T::kTokens - 1) / T::kTokens, (p.n + T::kChannels - 1) / T::kChannels);
    int first_channel = channel_tile * T::kChannels, first_token = token_tile * T::kTokens;

    int warp = threadIdx.x / 32, group = warp / (T::kWarpsN * T::kWarpsM), thread = threadIdx.x % T::kGroupThreads, lane = threadIdx.x % 32;
    int warp_row = warp % T::kWarpsN * kWarpChannels, warp_token = warp / T::kWarpsN % T::kWarpsM * T::kWarpTokens;
    u32 ring = shared_address(shared) + group * T::kRingBytes, ring_end = ring + T::kRingBytes;

    // The group's stages are group, group + kGroups, ...; codes and scales do not wait for the previous kernel, activations do.
    int stages = ((p.k + kStage - 1) / kStage - group + T::kGroups - 1) / T::kGroups;
    CodeCopies<T::kChannels, T::kGroupThreads> codes(p, first_channel, thread, group);
    ScaleLoads<kBlock, kTimes16> scale_loads(p, first_channel + warp_row);
#pragma unroll
    for (int i = 0; i < T::kBuffers - 1; i++)
        if (i < stages) codes.copy(ring + i * T::kBufferBytes, T::kGroups);
    auto next_scales = scale_loads.load(group);
    wait_for_previous_kernel();

    const i8* activations = p.a8 + ((long long)group * p.a8_rows + first_token) * kStage + thread * 16;
    long long activations_step = (long long)T::kGroups * p.a8_rows * kStage;
    auto copy_activations = [&](u32 buffer) {
#pragma unroll
        for (int i = 0; i < T::kTokens * 8 / T::kGroupThreads; i++)
            copy_16(buffer + T::kCodeBytes + thread * 16 + i * T::kGroupThreads * 16, activations + i * T::kGroupThreads * 16);
        activations += activations_step;
    };
#pragma unroll
    for (int i = 0; i < T::kBuffers - 1; i++) {
        if (i < stages) copy_activations(ring + i * T::kBufferBytes);
        commit_copies();
    }

    u32 my_codes = lane_codes<kBlock>(warp_row + lane / 4, lane % 4), my_activations = T::kCodeBytes + lane_activations<T::kWarpTokens / 8>(warp_token, lane);
    u32 buffer = ring, free_buffer = ring_end - T::kBufferBytes;
    int acc[kFragments][T::kWarpTokens / 8][4] = {};
    for (int i = 0; i < stages; i++) {
        int stage = group + i * T::kGroups;
        auto scales = next_scales;
        next_scales = scale_loads.load(stage + T::kGroups);
        wait_for_copies<T::kBuffers - 2>();
        group_sync<T>(group);  // this stage has arrived for all, and all are done with the buffer of the last one
        if (i + T::kBuffers - 1 < stages) codes.copy(free_buffer, T::kGroups), copy_activations(free_buffer);
        commit_copies();
        multiply_stage<T, kBlock, kTimes16>(acc, scales, scale_loads.first_group(stage), buffer + my_codes, buffer + my_activations);
        free_buffer = buffer;
        buffer = buffer + T::kBufferBytes == ring_end ? ring : buffer + T::kBufferBytes;
    }

    // The ring's memory becomes that of the sums.
    __syncthreads();
    int* sums = reinterpret_cast<int*>(shared);
    int channel = warp_row + lane / 4, token = group * T::kTokens + warp_token + lane % 4 * 2;
#pragma unroll
    for (int f = 0; f < kFragments; f++)
#pragma unroll
        for (int c = 0; c < T::kWarpTokens / 8; c++)
#pragma unroll
            for (int i = 0; i < 4; i++) sums[(token + c * 8 + i % 2) * kSumStride<T::kChannels> + channel + f * 16 + i / 2 * 8] = acc[f][c][i];
    __syncthreads();
    store_tile<T::kTokens, T::kChannels, T::kGroups, kTimes16 ? 4 : 0, T::kThreads>(p, sums, first_token, first_channel);
}

}  // namespace

// Blocks of 256 are for the b128 kernels too: two stages share a scale.
#define MMA(block, tokens, times, kTimes16)                                                                                         \
    extern "C" __global__ void __launch_bounds__(Tile##tokens::kThreads, Tile##tokens::kBlocksPerSm)                                \
        mma_b##block##_t##tokens##_x##times(const __grid_constant__ Params p) { matmul<Tile##tokens, block, kTimes16>(p); }
#define MMA_BLOCKS(tokens)                                                        \
    MMA(32, tokens, 16, true) MMA(64, tokens, 16, true) MMA(128, tokens, 16, true) \
    MMA(32, tokens, 1, false) MMA(64, tokens, 1, false) MMA(128, tokens, 1, false)

MMA_BLOCKS(8)
MMA_BLOCKS(16)
MMA_BLOCKS(32)
MMA_BLOCKS(64)
MMA_BLOCKS(128)
