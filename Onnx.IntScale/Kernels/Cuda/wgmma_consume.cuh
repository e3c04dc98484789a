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
struct Consumer {
    static constexpr int kUnroll = T::kUnroll;  // stages of the loop; what is issued ahead drains at its end
    // Where warpgroups are partners, stages are counted by each for itself: how far they lie from each other in the ring, and how many a span and a block have.
    static constexpr int kPlaces = T::kPlaces, kBarrierPitch = T::kPartners * 16, kCodePitch = T::kPartners * T::kCodeBytes, kTokenPitch = T::kPartners * T::kTokenBytes / 16;
    static constexpr int kOwnSpan = kSpan / T::kPartners, kStageBlocks = T::kStageBlocks > T::kPartners ? T::kStageBlocks / T::kPartners : 1;
    static constexpr int kStep = T::kBlock > kStage ? 1 : T::kPartners * T::kParts;  // groups from a stage to the next or, of larger blocks, from one kStageBlocks to the next

    u32 partner;                 // which of them this is
    int has_zeros, odd_first;    // whether there are zero points; whether the slice's first one is the high half of its byte
    int count;                   // stages of a tile
    u32 places;                  // places in the ring of a tile
    bool goes_on, primed = false;  // whether a tile's last stages load the next tile's first ones; whether they did
    bool first_lane;
    u32 full, span_full;         // barriers of the first stage and span; the empty ones lie behind them
    u32 tile;                    // the first stage's activations
    u32 codes;                   // the lane's codes of the first stage
    u32 spans;
    u32 stage0 = 0, span0 = 0;   // places in the rings that earlier tiles took
    SpanRow<T::kBlock> upper, lower;  // the same for all tiles, which begin with channels that are multiples of 128
    bool ready;                  // what is loaded next
    u32 tops;
    u32 up[4], low[4];           // codes as they are stored, of the stage after the next
    u32 fragments[2][4][4];      // and as they are multiplied
    u32 up_zeros[T::kParts], low_zeros[T::kParts];

    __device__ __forceinline__ Consumer(const Params& p, u8* shared, const Barriers<T>& barriers, const Slice& slice, int r, int row)
        : partner(partner_of_warpgroup<T>()), has_zeros(p.zero_points != nullptr), odd_first(first_group<T>(slice, 0) & 1), count((slice.count - (int)partner + T::kPartners - 1) / T::kPartners),
          places(ring_places<T>(slice)), goes_on(tile_goes_on<T>(slice)), first_lane(threadIdx.x % 32 == 0), full(barriers.full(partner)), span_full(barriers.span_full(0)),
          tile(wgmma_tile(shared_address(shared + partner * T::kTokenBytes))),
          codes(lane_codes<T::kBlock>(shared_address(shared + T::kCodesAt + r / 16 * 16 * kRowBytes), r % 8, threadIdx.x % 4) + partner * T::kCodeBytes),
          spans(shared_address(shared + T::kSpansAt)), upper(p, T::kRows, r, row, first_group<T>(slice, 0)),
          lower(p, T::kRows, r + 8, row + 8, first_group<T>(slice, 0)), tops(constant(0x80808080)) {}

    // Codes of a stage to registers, from its place in the ring, and the zero points: of the span, from its stage j on.
    __device__ __forceinline__ void load(u32 at, u32 parity, u32 span, u32 j) {
        if (!ready) wait_for_phase(full + at * kBarrierPitch, parity);
        load_codes<T::kBlock>(up, codes + at * kCodePitch);
        load_codes<T::kBlock>(low, codes + at * kCodePitch + 8 * kRowBytes);
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

    // kCount stages from stage i on, the j-th of its span of `end`: an even number, or the very last. No turn goes past the ring's end.
    template <int kCount>
    __device__ __forceinline__ void multiply(u32 i, u32 j, u32 end, u32 span, u32 next_span, Accumulator<T>& acc) {
        constexpr bool kLast = kCount % 2 != 0;
        constexpr int kSteps = 4 / T::kParts, kSets = T::kAhead ? 2 : 1;
        int sums[kSets][T::kTokens / 2], scales[kCount * T::kParts][2];
        // Places in the ring of these stages, and of the first one loaded here, which is two further on.
        constexpr bool kRound = kCount == kPlaces;  // always the whole ring
        u32 at = kRound ? 0 : (stage0 + i) % kPlaces, parity = (stage0 + i) / kPlaces & 1;
        u32 after = kRound ? 0 : (stage0 + i + kCount) % kPlaces, after_parity = (stage0 + i + kCount) / kPlaces & 1;
        u32 first = tile + at * kTokenPitch, freed = full + at * kBarrierPitch + 8;
        u32 scale_rows[2] = {span + upper.scales + group_of(j) * 2, span + lower.scales + group_of(j) * 2};
        auto set_of = [](int batch) { return batch / T::kParts / kStageBlocks * T::kParts + batch % T::kParts; };
        // A batch, the products of a group of weights within a stage, is over.
        auto finish = [&](int batch) {
            int s = batch / T::kParts, part = batch % T::kParts;
            pin(sums[set_of(batch) % kSets]);
            if (part == T::kParts - 1 && first_lane) arrive(freed + s * kBarrierPitch);
            if (s % kStageBlocks == kStageBlocks - 1 || (kLast && s == kCount - 1)) fold(acc, sums[set_of(batch) % kSets], scales[batch]);
        };
#pragma unroll
        for (int batch = 0; batch < kCount * T::kParts; batch++) {
            int s = batch / T::kParts, part = batch % T::kParts;
            wgmma_fence();
#pragma unroll
            for (int step = part * kSteps; step < (part + 1) * kSteps; step++)
                wgmma<T::kTokens>(sums[set_of(batch) % kSets], fragments[s % 2][step], first + s * kTokenPitch + step * 2, step % kSteps != 0 || s % kStageBlocks != 0);
            wgmma_commit();
#pragma unroll
            for (int row = 0; row < 2; row++) scales[batch][row] = scale(scale_rows[row] + (T::kBlock > kStage ? s / kStageBlocks : s * kStep + part) * 2);
            if (T::kAhead && batch > 0) {
                wgmma_wait<1>();
                finish(batch - 1);
            }
            if (part == 0 && (!kLast || s + 1 < kCount)) {
                // The stage before is over, so its fragments' registers are free. Past the last stage there are two more, of nothing.
                unpack(fragments[(s + 1) % 2]);
                if (s + 2 < kCount) load(at + s + 2, parity, span, j + s + 2);
                else if (!kLast) load(after + s + 2 - kCount, after_parity, j + s + 2 < end ? span : next_span, j + s + 2 < end ? j + s + 2 : j + s + 2 - end);
                if (s + 3 < kCount) ready = is_over(full + (at + s + 3) * kBarrierPitch, parity);
                else ready = kCount >= 4 && is_over(full + (after + s + 3 - kCount) * kBarrierPitch, after_parity);
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

    // A tile, and whether there are more.
    __device__ __forceinline__ void run(Accumulator<T>& acc, bool more) {
        if (count <= 0) return;
        if (!primed) {
            u32 at = stage0 % kPlaces, parity = stage0 / kPlaces & 1;
            wait_for_phase(span_full + span0 % 2 * 16, span0 / 2 & 1);
            ready = false;
            load(at, parity, spans + span0 % 2 * T::kSpanBytes, 0);
            unpack(fragments[0]);
            load(at + 1, parity, spans + span0 % 2 * T::kSpanBytes, 1);
        }
        for (u32 first = 0; first < (u32)count; first += kOwnSpan, span0++) {
            // Zero points are loaded two stages ahead: of the next span, if there is one; else any.
            u32 ahead = T::kZeros && (first + kOwnSpan < (u32)count || (goes_on && more)) ? span0 + 1 : span0;
            wait_for_phase(span_full + ahead % 2 * 16, ahead / 2 & 1);
            u32 span = spans + span0 % 2 * T::kSpanBytes, next = spans + ahead % 2 * T::kSpanBytes;
            u32 end = min((u32)kOwnSpan, count - first), j = 0;
#pragma unroll 1
            for (; j + kUnroll <= end; j += kUnroll) multiply<kUnroll>(first + j, j, end, span, next, acc);
#pragma unroll 1
            for (; kUnroll > 4 && j + 4 <= end; j += 2) multiply<2>(first + j, j, end, span, next, acc);
            if (j + 1 == end) multiply<1>(first + j, j, end, span, next, acc);
            else if (kUnroll > 2 && j + 2 == end) multiply<2>(first + j, j, end, span, next, acc);
            else if (kUnroll > 2 && j + 3 == end) multiply<3>(first + j, j, end, span, next, acc);
            arrive(span_full + span0 % 2 * 16 + 8);
        }
        // An only tile's places of nothing need not be given back.
        for (u32 i = stage0 + count; !T::kOne && i < stage0 + places; i++) {
            u32 barrier = full + i % T::kStages * 16;
            wait_for_phase(barrier, i / T::kStages & 1);
            __syncwarp();  // no lane still waits for a phase that this arrival lets pass
            if (first_lane) arrive(barrier + 8);
        }
        stage0 += places, primed = goes_on;
    }

private:
    // Which group of its span is the first one of stage j.
    __device__ __forceinline__ u32 group_of(u32 j) const { return T::kBlock > kStage ? j / kStageBlocks : j * kStep + partner * T::kParts; }

    __device__ __forceinline__ static int scale(u32 address) {
        int value;
        asm volatile("ld.shared.s16 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
        return value;
    }

    // Whether a span's first zero point is the low or the high half of its byte is the same in all spans.
    __device__ __forceinline__ u32 zero_point(u32 row, u32 j, int part) const {
        int group = odd_first + group_of(j) + part;
        u32 pair;
        asm volatile("ld.shared.u8 %0, [%1];" : "=r"(pair) : "r"(row + group / 2) : "memory");
        return group & 1 ? pair >> 4 : pair & 15;
    }
};
