// The warpgroups that multiply: 64 channels, kTokens tokens and one slice of K each, stage after stage (128 k):
//
//   issue the products of a group of weights; unpack the codes of the next stage, and load those of the one after that;
//   wait for the products; acc += group sum * group scale
//
// Where registers allow, the products of the next group are issued before the wait. Otherwise the other warpgroup's keep the tensor cores
// busy. Each scheduler has two warps, and what they execute hides behind half of the products' time only (benchmarks/cuda.md): instructions count.
#pragma once
#include "wgmma_tile.cuh"

template <class T>
using Accumulator = int[T::kTokens / 2];

template <class T>
struct Consumer {
    static constexpr int kUnroll = T::kAhead || T::kBlock >= kStage ? 4 : 2;  // stages of the loop; what is issued ahead drains at its end

    int has_zeros, odd_first;    // whether there are zero points; whether the slice's first one is the high half of its byte
    int count;                   // stages
    bool first_lane;
    u32 full, span_full;         // barriers of the first stage and span; the empty ones lie behind them
    u32 tile;                    // first stage's activations
    u32 codes;                   // the lane's codes of the first stage
    u32 spans;
    SpanRow<T::kBlock> upper, lower;
    u32 tops;
    u32 up[4], low[4];           // codes as they are stored
    u32 up_zeros[T::kParts], low_zeros[T::kParts];

    __device__ __forceinline__ Consumer(const Params& p, u8* shared, const Barriers<T>& barriers, const Place& place, const Slice& slice, int r)
        : has_zeros(p.zero_points != nullptr), odd_first(first_group<T>(slice, 0) & 1), count(slice.count), first_lane(threadIdx.x % 32 == 0),
          full(barriers.full(0)), span_full(barriers.span_full(0)), tile(wgmma_tile(shared_address(shared))),
          codes(lane_codes<T::kBlock>(shared_address(shared + T::kCodesAt + r / 16 * 16 * kRowBytes), r % 8, threadIdx.x % 4)),
          spans(shared_address(shared + T::kSpansAt)), upper(p, T::kRows, r, place.row0 + r, first_group<T>(slice, 0)),
          lower(p, T::kRows, r + 8, place.row0 + r + 8, first_group<T>(slice, 0)), tops(constant(0x80808080)) {}

    // Codes of a stage to registers, from its place in the ring, and the zero points: of the span, from its stage j on.
    __device__ __forceinline__ void load(u32 at, u32 parity, u32 span, u32 j) {
        wait_for_phase(full + at * 16, parity);
        load_codes<T::kBlock>(up, codes + at * T::kCodeBytes);
        load_codes<T::kBlock>(low, codes + at * T::kCodeBytes + 8 * kRowBytes);
        if constexpr (T::kZeros) {
            if (!has_zeros) return;
#pragma unroll
            for (int part = 0; part < T::kParts; part++) {
                up_zeros[part] = zero_point(span + upper.zeros, j, part);
                low_zeros[part] = zero_point(span + lower.zeros, j, part);
            }
        }
    }

    __device__ __forceinline__ void unpack(u32 (&fragments)[4][4]) const {
        u32 up_bias = zero_point_bias(8), low_bias = up_bias;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (T::kZeros && has_zeros) up_bias = zero_point_bias(up_zeros[j * T::kParts / 4]), low_bias = zero_point_bias(low_zeros[j * T::kParts / 4]);
            Bytes u = T::kZeros ? unpack1(up[j], up_bias) : unpack16(up[j], tops);
            Bytes l = T::kZeros ? unpack1(low[j], low_bias) : unpack16(low[j], tops);
            fragments[j][0] = u.even, fragments[j][1] = l.even, fragments[j][2] = u.odd, fragments[j][3] = l.odd;
        }
#pragma unroll
        for (int j = 0; j < 4; j++) pin(fragments[j]);
    }

    __device__ __forceinline__ static void fold(Accumulator<T>& acc, const Accumulator<T>& sums, const int (&scales)[2]) {
        float floats[2] = {half_to_float((u16)scales[0]), half_to_float((u16)scales[1])};
#pragma unroll
        for (int e = 0; e < T::kTokens / 2; e++) {
            if constexpr (T::kFold == Fold::kFloat16) acc[e] = __float_as_int(fmaf((float)sums[e], floats[e % 4 / 2], __int_as_float(acc[e])));
            else acc[e] += sums[e] * scales[e % 4 / 2];
        }
    }

    // kCount stages from stage i on, the j-th of its span: an even number, or the very last. i and j are multiples of kCount.
    template <int kCount>
    __device__ __forceinline__ void multiply(u32 i, u32 j, u32 span, u32 next_span, Accumulator<T>& acc, u32 (&fragments)[2][4][4]) {
        constexpr int kSteps = 4 / T::kParts, kSets = T::kAhead ? 2 : 1;
        int sums[kSets][T::kTokens / 2], scales[kCount * T::kParts][2];
        // Places in the ring of these stages, and of the first one loaded here, which is two further on.
        u32 at = i % T::kStages, parity = i / T::kStages & 1;
        u32 after = (i + kCount) % T::kStages, after_parity = (i + kCount) / T::kStages & 1;
        u32 first = tile + at * (T::kTokenBytes / 16), freed = full + at * 16 + 8;
        u32 scale_rows[2] = {span + upper.scales + scale_offset(j), span + lower.scales + scale_offset(j)};
        auto set_of = [](int batch) { return batch / T::kParts / T::kStageBlocks * T::kParts + batch % T::kParts; };
        // A batch, the products of a group of weights within a stage, is over.
        auto finish = [&](int batch) {
            int s = batch / T::kParts, part = batch % T::kParts;
            pin(sums[set_of(batch) % kSets]);
            if (part == T::kParts - 1 && first_lane) arrive(freed + s * 16);
            if (kCount == 1 || s % T::kStageBlocks == T::kStageBlocks - 1) fold(acc, sums[set_of(batch) % kSets], scales[batch]);
        };
#pragma unroll
        for (int batch = 0; batch < kCount * T::kParts; batch++) {
            int s = batch / T::kParts, part = batch % T::kParts;
            wgmma_fence();
#pragma unroll
            for (int step = part * kSteps; step < (part + 1) * kSteps; step++)
                wgmma<T::kTokens>(sums[set_of(batch) % kSets], fragments[s % 2][step], first + s * (T::kTokenBytes / 16) + step * 2, step % kSteps != 0 || s % T::kStageBlocks != 0);
            wgmma_commit();
#pragma unroll
            for (int row = 0; row < 2; row++) scales[batch][row] = scale(scale_rows[row] + (T::kBlock > kStage ? s / T::kStageBlocks : s * T::kParts + part) * 2);
            if (T::kAhead && batch > 0) {
                wgmma_wait<1>();
                finish(batch - 1);
            }
            if (part == 0 && kCount > 1) {
                // The stage before is over, so its fragments' registers are free. Past the last stage there are two more, of nothing.
                unpack(fragments[(s + 1) % 2]);
                if (s + 2 < kCount) load(at + s + 2, parity, span, j + s + 2);
                else load(after + s + 2 - kCount, after_parity, j + s + 2 < kSpan ? span : next_span, (j + s + 2) % kSpan);
            }
            if (!T::kAhead) {
                wgmma_wait<0>();
                finish(batch);
            }
        }
        if (T::kAhead) {
            wgmma_wait<0>();
            finish(kCount * T::kParts - 1);
        }
    }

    __device__ __forceinline__ void run(Accumulator<T>& acc) {
        if (count <= 0) return;
        u32 fragments[2][4][4];
        wait_for_phase(span_full, 0);
        load(0, 0, spans, 0);
        unpack(fragments[0]);
        load(1, 0, spans, 1);
        for (u32 index = 0; index * kSpan < (u32)count; index++) {
            u32 span = spans + index % 2 * T::kSpanBytes, next = spans + (index + 1) % 2 * T::kSpanBytes;
            u32 first = index * kSpan, end = min((u32)kSpan, count - first), j = 0;
            // Zero points are loaded two stages ahead.
            u32 ahead = T::kZeros && first + kSpan < (u32)count ? index + 1 : index;
            wait_for_phase(span_full + ahead % 2 * 16, ahead / 2 & 1);
#pragma unroll 1
            for (; j + kUnroll <= end; j += kUnroll) multiply<kUnroll>(first + j, j, span, next, acc, fragments);
            if (kUnroll > 2 && j + 2 <= end) multiply<2>(first + j, j, span, next, acc, fragments), j += 2;
            if (j < end) multiply<1>(first + j, j, span, next, acc, fragments);
            __syncwarp();
            if (first_lane) arrive(span_full + index % 2 * 16 + 8);
        }
    }

private:
    // Bytes from a span's first scale to that of its stage j.
    __device__ __forceinline__ static u32 scale_offset(u32 j) { return T::kBlock > kStage ? j / T::kStageBlocks * 2 : j * T::kParts * 2; }

    __device__ __forceinline__ static int scale(u32 address) {
        int value;
        asm volatile("ld.shared.s16 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
        return value;
    }

    // Whether a span's first zero point is the low or the high half of its byte is the same in all spans.
    __device__ __forceinline__ u32 zero_point(u32 row, u32 j, int part) const {
        int group = odd_first + (T::kBlock > kStage ? j / T::kStageBlocks : j * T::kParts + part);
        u32 pair;
        asm volatile("ld.shared.u8 %0, [%1];" : "=r"(pair) : "r"(row + group / 2) : "memory");
        return group & 1 ? pair >> 4 : pair & 15;
    }
};
