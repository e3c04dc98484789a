using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>
/// AVX2 for any number of rows, vector lanes along k: <see cref="Avx512RowKernel"/> at half the width. 32 bytes of B hold 64 4-bit codes,
/// the even and the odd k of half a chunk.
/// </summary>
public static unsafe class Avx2Kernel
{
    /// <summary>Whether this processor has AVX2.</summary>
    public static bool IsSupported => Avx2.IsSupported;

    /// <inheritdoc cref="AccumulateTile"/>
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc) =>
        RowTile256.Accumulate<Loops>(job, m0, m1, n0, n1, acc);

    private readonly struct Loops : IRowLoops
    {
        public static BlockScales Scales(MatMulShape shape) => new(shape, BlockScales.BothHalves);

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public static void OneRow(in MatMulJob job, int m, byte* b, short* s, in BlockScales scales, int* parts)
        {
            var a = job.A8 + ((long)m * job.Weights.Shape.ActivationStride);
            var vectors = (job.Weights.Shape.RowBytes + 31) / 32;
            var nibble = Vector256.Create((byte)0xF);
            var blockScales = scales;
            var acc = Vector256<int>.Zero;
            for (var v = 0; v < vectors; v++, b += 32)
            {
                Sse.Prefetch0(b + RowTile256.PrefetchAhead);
                var codes = Vector256.Load(b);
                acc += Avx2.MultiplyAddAdjacent(Pairs(codes & nibble, RowTile256.High(codes) & nibble, a + RowTile256.EvenAt(v)), blockScales.Of(s, v));
            }

            acc.Store(parts);
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public static void FourRows(in MatMulJob job, int m, byte* b, short* s, in BlockScales scales, int* parts)
        {
            var shape = job.Weights.Shape;
            long row = shape.ActivationStride;
            var vectors = (shape.RowBytes + 31) / 32;
            var nibble = Vector256.Create((byte)0xF);
            var blockScales = scales;
            Vector256<int> acc0 = default, acc1 = default, acc2 = default, acc3 = default;
            for (var v = 0; v < vectors; v++, b += 32)
            {
                Sse.Prefetch0(b + RowTile256.PrefetchAhead);
                var codes = Vector256.Load(b);
                var even = codes & nibble;
                var odd = RowTile256.High(codes) & nibble;
                var scale = blockScales.Of(s, v);
                var a = job.A8 + (m * row) + RowTile256.EvenAt(v);
                acc0 += Avx2.MultiplyAddAdjacent(Pairs(even, odd, a), scale);
                acc1 += Avx2.MultiplyAddAdjacent(Pairs(even, odd, a + row), scale);
                acc2 += Avx2.MultiplyAddAdjacent(Pairs(even, odd, a + (2 * row)), scale);
                acc3 += Avx2.MultiplyAddAdjacent(Pairs(even, odd, a + (3 * row)), scale);
            }

            acc0.Store(parts);
            acc1.Store(parts + RowTile256.Lanes);
            acc2.Store(parts + (2 * RowTile256.Lanes));
            acc3.Store(parts + (3 * RowTile256.Lanes));
        }

        /// <summary>8-bit codes as two planes of nibbles: q = 16·high + low.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public static void OneRowOfBytes(in MatMulJob job, int m, byte* b, short* s, in BlockScales scales, int* parts)
        {
            var a = job.A8 + ((long)m * job.Weights.Shape.ActivationStride);
            var vectors = (job.Weights.Shape.RowBytes + 31) / 32;
            var nibble = Vector256.Create((byte)0xF);
            var blockScales = scales;
            Vector256<int> acc = default, high = default;
            for (var v = 0; v < vectors; v++, b += 32, a += 32)
            {
                Sse.Prefetch0(b + RowTile256.PrefetchAhead);
                var codes = Vector256.Load(b);
                var activations = Vector256.Load(a);
                var scale = blockScales.Of(s, v);
                acc += Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(codes & nibble, activations), scale);
                high += Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(RowTile256.High(codes) & nibble, activations), scale);
            }

            (acc + (high << 4)).Store(parts);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static Vector256<short> Pairs(Vector256<byte> even, Vector256<byte> odd, sbyte* a) =>
            Avx2.MultiplyAddAdjacent(even, Vector256.Load(a)) + Avx2.MultiplyAddAdjacent(odd, Vector256.Load(a + (ActivationOrder.Chunk / 2)));
    }
}
