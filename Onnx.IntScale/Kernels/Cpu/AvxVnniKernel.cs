using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>
/// AVX-VNNI for any number of rows, vector lanes along k. A chunk of 128 4-bit codes u (unsigned) is two vectors of B, each with its even
/// and its odd k:
/// <code>
/// p   = vpdpbusd(u, a8), four times       16 products a lane: |p| ≤ 16·15·127 = 30480 fits int16
/// acc = vpdpwssd(acc, p, scale)           p's low half, which is p, times the scale; its high half, a mere sign, times zero
/// </code>
/// Five multiplications where <see cref="Avx2Kernel"/> has six and four additions. Blocks shorter than a chunk scale each vector by itself.
/// </summary>
public static unsafe class AvxVnniKernel
{
    /// <summary>Whether this processor has AVX-VNNI.</summary>
    public static bool IsSupported => AvxVnni.IsSupported;

    /// <inheritdoc cref="AccumulateTile"/>
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc)
    {
        if (job.Weights.Shape.BlockSize >= ActivationOrder.Chunk) RowTile256.Accumulate<Loops<ScaleOfChunk>>(job, m0, m1, n0, n1, acc);
        else RowTile256.Accumulate<Loops<ScalesOfVectors>>(job, m0, m1, n0, n1, acc);
    }

    /// <summary>Whether a chunk has one scale; a constant to the compiler of a loop.</summary>
    private interface IChunk
    {
        static abstract bool HasOneScale { get; }
    }

    /// <summary>Blocks of 128 and 256.</summary>
    private readonly struct ScaleOfChunk : IChunk
    {
        public static bool HasOneScale => true;
    }

    /// <summary>Blocks of 16 to 64: each vector lies within a block, or holds several.</summary>
    private readonly struct ScalesOfVectors : IChunk
    {
        public static bool HasOneScale => false;
    }

    private readonly struct Loops<TChunk> : IRowLoops
        where TChunk : struct, IChunk
    {
        public static BlockScales Scales(MatMulShape shape) => new(shape, shape.Bits == 4 ? BlockScales.LowHalf : BlockScales.HighHalf);

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public static void OneRow(in MatMulJob job, int m, byte* b, short* s, in BlockScales scales, int* parts)
        {
            var a = job.A8 + ((long)m * job.Weights.Shape.ActivationStride);
            var vectors = (job.Weights.Shape.RowBytes + 31) / 32;
            var nibble = Vector256.Create((byte)0xF);
            var blockScales = scales;
            var acc = Vector256<int>.Zero;
            for (var v = 0; v < vectors; v += 2, b += 64, a += ActivationOrder.Chunk)
            {
                Sse.Prefetch0(b + RowTile256.PrefetchAhead);
                var codes0 = Vector256.Load(b);
                var codes1 = Vector256.Load(b + 32);
                var scale0 = blockScales.Of(s, v);
                var scale1 = TChunk.HasOneScale ? scale0 : blockScales.Of(s, v + 1);
                acc = Add(acc, a, codes0 & nibble, RowTile256.High(codes0) & nibble, codes1 & nibble, RowTile256.High(codes1) & nibble, scale0, scale1);
            }

            acc.Store(parts);
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public static void FourRows(in MatMulJob job, int m, byte* b, short* s, in BlockScales scales, int* parts)
        {
            var shape = job.Weights.Shape;
            long row = shape.ActivationStride;
            var a = job.A8 + (m * row);
            var a3 = a + (3 * row);
            var vectors = (shape.RowBytes + 31) / 32;
            var nibble = Vector256.Create((byte)0xF);
            var blockScales = scales;
            Vector256<int> acc0 = default, acc1 = default, acc2 = default, acc3 = default;
            for (var v = 0; v < vectors; v += 2, b += 64, a += ActivationOrder.Chunk, a3 += ActivationOrder.Chunk)
            {
                Sse.Prefetch0(b + RowTile256.PrefetchAhead);
                var codes0 = Vector256.Load(b);
                var codes1 = Vector256.Load(b + 32);
                Vector256<byte> even0 = codes0 & nibble, odd0 = RowTile256.High(codes0) & nibble;
                Vector256<byte> even1 = codes1 & nibble, odd1 = RowTile256.High(codes1) & nibble;
                var scale0 = blockScales.Of(s, v);
                var scale1 = TChunk.HasOneScale ? scale0 : blockScales.Of(s, v + 1);
                acc0 = Add(acc0, a, even0, odd0, even1, odd1, scale0, scale1);
                acc1 = Add(acc1, a + row, even0, odd0, even1, odd1, scale0, scale1);
                acc2 = Add(acc2, a + (2 * row), even0, odd0, even1, odd1, scale0, scale1);
                acc3 = Add(acc3, a3, even0, odd0, even1, odd1, scale0, scale1);
            }

            acc0.Store(parts);
            acc1.Store(parts + RowTile256.Lanes);
            acc2.Store(parts + (2 * RowTile256.Lanes));
            acc3.Store(parts + (3 * RowTile256.Lanes));
        }

        /// <summary>Four products of 8-bit codes do not fit int16: the sum is multiplied as int32 by the scale, moved down with its sign.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public static void OneRowOfBytes(in MatMulJob job, int m, byte* b, short* s, in BlockScales scales, int* parts)
        {
            var a = job.A8 + ((long)m * job.Weights.Shape.ActivationStride);
            var vectors = (job.Weights.Shape.RowBytes + 31) / 32;
            var blockScales = scales;
            var acc = Vector256<int>.Zero;
            for (var v = 0; v < vectors; v++, b += 32, a += 32)
            {
                Sse.Prefetch0(b + RowTile256.PrefetchAhead);
                var p = AvxVnni.MultiplyWideningAndAdd(Vector256<int>.Zero, Vector256.Load(b), Vector256.Load(a));
                acc += p * (blockScales.Of(s, v).AsInt32() >> 16);
            }

            acc.Store(parts);
        }

        /// <summary>acc and a chunk of one row.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static Vector256<int> Add(
            Vector256<int> acc,
            sbyte* a,
            Vector256<byte> even0,
            Vector256<byte> odd0,
            Vector256<byte> even1,
            Vector256<byte> odd1,
            Vector256<short> scale0,
            Vector256<short> scale1)
        {
            var p = Dot(Vector256<int>.Zero, a, even0, odd0);
            if (TChunk.HasOneScale) return AvxVnni.MultiplyWideningAndAdd(acc, Dot(p, a + 32, even1, odd1).AsInt16(), scale0);
            acc = AvxVnni.MultiplyWideningAndAdd(acc, p.AsInt16(), scale0);
            return AvxVnni.MultiplyWideningAndAdd(acc, Dot(Vector256<int>.Zero, a + 32, even1, odd1).AsInt16(), scale1);
        }

        /// <summary>p and the products of a vector's even and odd k.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static Vector256<int> Dot(Vector256<int> p, sbyte* a, Vector256<byte> even, Vector256<byte> odd) =>
            AvxVnni.MultiplyWideningAndAdd(AvxVnni.MultiplyWideningAndAdd(p, even, Vector256.Load(a)), odd, Vector256.Load(a + (ActivationOrder.Chunk / 2)));
    }
}
