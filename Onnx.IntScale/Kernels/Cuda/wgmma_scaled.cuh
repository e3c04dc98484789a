// The warpgroups that multiply where codes carry their scales (Fold::kScaled): scale * (q - 8) is an int8, so all of K adds up in the tensor
// cores, and there is nothing to fold. Per stage (128 k):
//
//   issue the products, and give their codes' place back; wait for the stage before, and give its activations' place back; unpack the codes
//   of the next stage; load those of the one after that
//
// Codes are needed two stages before their activations, so they have a ring of their own: in one ring for both, activations would have to come
// as early, and two of its places would always wait. Where a tile is whole rounds of the rings, places are constants of the code.
//
// What registers were loaded from is given back no earlier than products are issued that read those registers: only then have the loads been
// waited for. ptxas lets an arrival pass them, and a warp whose loads are slow then reads what took their place.
#pragma once
#include "wgmma_tile.cuh"

// A place in a ring of kCount stages, and the parity of its phase.
template <int kCount>
struct Place {
    u32 at = 0, parity = 0;

    __device__ __forceinline__ void next() {
        if (++at == kCount) at = 0, parity ^= 1;
    }
};

template <class T>
struct ScaledConsumer {
    // Where warpgroups are partners, stages are counted by each for itself: how far they lie from each other in the rings, and how many a span has.
    static constexpr int kPlaces = T::kPlaces, kBarrierPitch = T::kPartners * 16, kCodePitch = T::kPartners * T::kCodeBytes, kTokenPitch = T::kPartners * T::kTokenBytes / 16;
    static constexpr int kOwnSpan = kSpan / T::kPartners;

    u32 partner;                      // which of them this is
    int count;                        // stages of a tile
    bool first_lane, primed = false;  // primed: whether the last tile's last stages unpacked and loaded this one's first ones
    u32 full, code_full, span_full;   // barriers of the first activations, codes and span; the empty ones lie behind them
    u32 tile;                         // the first place's activations
    u32 codes;                        // the lane's codes of the first place
    u32 spans;
    SpanRow<T::kBlock> upper, lower;  // the same for all tiles, which begin with channels that are multiples of 128
    Place<kPlaces> tokens;            // multiplied next
    Place<kPlaces> loads;             // loaded next; once loaded, unpacked next
    Place<2> span;                    // their scales'
    u32 span_freed = 0;               // the span given back next
    int load_stage = 0;               // of the tile
    bool ready = false, code_ready = false;  // whether what is multiplied next, loaded next, has come
    u32 up[4], low[4];                       // codes as they are stored, and their scales
    int up_scales[T::kParts], low_scales[T::kParts];
    u32 fragments[2][4][4];                  // codes as they are multiplied

    __device__ __forceinline__ ScaledConsumer(const Params& p, u8* shared, const Barriers<T>& barriers, const Slice& slice, int r, int row)
        : partner(partner_of_warpgroup<T>()), count((slice.count - (int)partner + T::kPartners - 1) / T::kPartners), first_lane(threadIdx.x % 32 == 0), full(barriers.full(partner)),
          code_full(barriers.code_full(partner)), span_full(barriers.span_full(0)), tile(wgmma_tile(shared_address(shared + partner * T::kTokenBytes))),
          codes(lane_codes<T::kBlock>(shared_address(shared + T::kCodesAt + r / 16 * 16 * kRowBytes), r % 8, threadIdx.x % 4) + partner * T::kCodeBytes),
          spans(shared_address(shared + T::kSpansAt)), upper(p, T::kRows, r, row, first_group<T>(slice, 0)), lower(p, T::kRows, r + 8, row + 8, first_group<T>(slice, 0)) {
        asm volatile("" : "+r"(codes), "+r"(upper.scales), "+r"(lower.scales));  // or they are computed anew for every stage
    }

    // A tile, and whether there are more.
    __device__ __forceinline__ void run(Accumulator<T>& acc, bool more) {
        if (count <= 0) return;
        if (!primed) {
            code_ready = false;
            load();
            unpack(fragments[0]);
            if (count > 1) load();
        }
        // Fragments take turns, so that a tile of an odd number of stages cannot begin with what the last one left.
        primed = more && count % 2 == 0;
        int begun = primed ? count + 2 : count, i = 0;
        if (count % kPlaces == 0) {
#pragma unroll 1
            for (; i < count; i += kPlaces) {
                tokens.at = 0, loads.at = 1;  // as they are; now the compiler knows
#pragma unroll
                for (int s = 0; s < kPlaces; s++) multiply(acc, fragments[s % 2], fragments[!(s % 2)], i + s, s + 2 < kPlaces ? i + kPlaces : begun, s);
            }
            wgmma_wait<0>();
            pin(acc);
        } else {
#pragma unroll 1
            for (; i + 2 <= count; i += 2) {
                multiply(acc, fragments[0], fragments[1], i, begun);
                multiply(acc, fragments[1], fragments[0], i + 1, begun);
            }
            if (i < count) multiply(acc, fragments[0], fragments[1], i, begun);
            wgmma_wait<0>();
            pin(acc);
        }
        free_tokens();
    }

private:
    // Of the stage before the one multiplied next.
    __device__ __forceinline__ void free_tokens() const {
        if (first_lane) arrive(full + (tokens.at == 0 ? kPlaces - 1 : tokens.at - 1) * kBarrierPitch + 8);
    }

    // Stage i of a tile; `begun` counts the stages that are unpacked in it, of the next tile too; `of_round`: which of a round it is, where tiles are whole rounds.
    __device__ __forceinline__ void multiply(Accumulator<T>& acc, u32 (&fragments)[4][4], u32 (&next)[4][4], int i, int begun, int of_round = -1) {
        if (!ready) wait_for_phase(full + tokens.at * kBarrierPitch, tokens.parity);
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < 4; step++) wgmma<T::kTokens>(acc, fragments[step], tile + tokens.at * kTokenPitch + step * 2, true);
        wgmma_commit();
        if (first_lane) arrive(code_full + tokens.at * kBarrierPitch + 8);
        if ((of_round < 0 || of_round == kPlaces - 1) && ((i + 1) % kOwnSpan == 0 || i + 1 == count)) {
            arrive(span_full + span_freed * 16 + 8);
            span_freed ^= 1;
        }
        wgmma_wait<1>();
        if (i > 0) free_tokens();
        tokens.next();
        ready = is_over(full + tokens.at * kBarrierPitch, tokens.parity);
        Place<kPlaces> after = loads;
        after.next();
        code_ready = is_over(code_full + after.at * kBarrierPitch, after.parity);
        if (i + 1 < begun) unpack(next);
        if (i + 2 < begun) load(of_round < 0 ? -1 : (of_round + 2) % kPlaces);
    }

    // Codes and scales of a stage to registers. Spans begin and end with rounds.
    __device__ __forceinline__ void load(int of_round = -1) {
        static_assert(kOwnSpan % kPlaces == 0);
        bool may_begin = of_round <= 0, may_end = of_round < 0 || of_round == kPlaces - 1;
        if (may_begin && load_stage % kOwnSpan == 0) wait_for_phase(span_full + span.at * 16, span.parity);
        if (!code_ready) wait_for_phase(code_full + loads.at * kBarrierPitch, loads.parity);
        load_codes<T::kBlock>(up, codes + loads.at * kCodePitch);
        load_codes<T::kBlock>(low, codes + loads.at * kCodePitch + 8 * kRowBytes);
        int of_span = load_stage % kOwnSpan * T::kPartners + (int)partner;
        u32 scales = spans + span.at * T::kSpanBytes + (T::kBlock > kStage ? of_span / T::kStageBlocks : of_span * T::kParts) * 2;
#pragma unroll
        for (int part = 0; part < T::kParts; part++) up_scales[part] = load_scale(scales + upper.scales + part * 2), low_scales[part] = load_scale(scales + lower.scales + part * 2);
        load_stage++;
        if (may_end && (load_stage == count || load_stage % kOwnSpan == 0)) {
            span.next();
            if (load_stage == count) load_stage = 0;
        }
    }

    // What was loaded last.
    __device__ __forceinline__ void unpack(u32 (&fragments)[4][4]) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            int part = j * T::kParts / 4;
            Bytes u = unpack_scaled(up[j], up_scales[part], scaled_bias(up_scales[part])), l = unpack_scaled(low[j], low_scales[part], scaled_bias(low_scales[part]));
            fragments[j][0] = u.even, fragments[j][1] = l.even, fragments[j][2] = u.odd, fragments[j][3] = l.odd;
        }
#pragma unroll
        for (int j = 0; j < 4; j++) pin(fragments[j]);
        loads.next();
    }

    __device__ __forceinline__ static int load_scale(u32 address) {
        int value;
        asm volatile("ld.shared.s16 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
        return value;
    }
};
