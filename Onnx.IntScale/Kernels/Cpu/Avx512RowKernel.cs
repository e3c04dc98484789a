using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>
/// AVX-512BW for few rows, vector lanes along k, on the stored layout. 64 bytes of B hold 128 4-bit codes u (unsigned):
/// <code>
/// p16  = vpmaddubsw(u even, a8 even) + vpmaddubsw(u odd, a8 odd)      |p| ≤ 4·15·127 fits int16
/// acc += vpmaddwd(p16, scales)                                        widens to int32 and multiplies by the integer scale
/// </code>
/// The scale vector repeats each block's scale over the block's lanes, so all block sizes run alike. 8-bit codes go as two planes of
/// nibbles, q = 16·high + low. Zero points are taken off afterwards (<see cref="ZeroPointPlanes"/>).
/// </summary>
public static unsafe class Avx512RowKernel
{
    /// <summary>Bytes ahead of the weights in use that are asked for: what memory needs to keep up with one row of A.</summary>
    private const int PrefetchAhead = 4096;

    private const int Lanes = 32;

    /// <summary>Whether this processor has AVX-512BW.</summary>
    public static bool IsSupported => Avx512BW.IsSupported;

    /// <inheritdoc cref="AccumulateTile"/>
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc)
    {
        var shape = job.Weights.Shape;
        var codes = 64 * 8 / shape.Bits;
        if (RowReader.IsTooLong(shape)) ScalarKernel.Accumulate(job, m0, m1, n0, n1, acc);
        else if (shape.BlockSize >= codes) Accumulate(job, new OneScale(BitOperations.Log2((uint)(shape.BlockSize / codes))), m0, m1, n0, n1, acc);
        else Accumulate(job, new SeveralScales(codes, shape.BlockSize), m0, m1, n0, n1, acc);
    }

    [SkipLocalsInit]
    private static void Accumulate<TScales>(in MatMulJob job, TScales scales, int m0, int m1, int n0, int n1, int* acc)
        where TScales : struct, IScales
    {
        var shape = job.Weights.Shape;
        var stride = n1 - n0;
        var low = stackalloc short[ZeroPointPlanes.Step];
        var high = stackalloc short[ZeroPointPlanes.Step];
        var parts = stackalloc int[8 * 16];
        var copy = stackalloc byte[RowReader.CopyBytes(shape)];
        var reader = new RowReader(job.Weights, copy);
        var n = n0;
        if (shape.Bits == 4 && m1 - m0 < 4)
        {
            // Few rows are a matter of memory: four channels at a time keep four streams of weights coming.
            for (; n <= n1 - 4 && reader.IsPlain(n + 3); n += 4)
            {
                for (var m = m0; m < m1; m++)
                {
                    FourChannels(job, m, n, scales, parts);
                    if (job.Weights.ZeroPoints == null) Avx512RowEnds.TakeOffDefaultZeroPoints(job, m, n, parts);
                    for (var i = 0; i < 4 && job.Weights.ZeroPoints != null; i++)
                        Avx512RowEnds.TakeOffZeroPoints(job, m, n + i, 1, job.Weights.ScalesOf(n + i), low, high, parts + (16 * i));

                    Avx512RowEnds.Sum(parts).Store(acc + ((m - m0) * stride) + (n - n0));
                }
            }
        }

        for (; n < n1; n++)
        {
            reader.Row(n, out var b, out var s);
            for (var m = m0; m < m1;)
            {
                var rows = shape.Bits == 8 ? 1 : m1 - m >= 8 ? 8 : m1 - m >= 4 ? 4 : 1;
                if (rows == 8) EightRows(job, m, b, s, scales, parts);
                else if (rows == 4) FourRows(job, m, b, s, scales, parts);
                else if (shape.Bits == 4) OneRow(job, m, b, s, scales, parts);
                else OneRowOfBytes(job, m, b, s, scales, parts);

                Avx512RowEnds.TakeOffZeroPoints(job, m, n, rows, s, low, high, parts);
                var column = acc + ((m - m0) * stride) + (n - n0);
                if (rows == 1) *column = Vector512.Sum(Vector512.Load(parts));
                for (var i = 0; i < rows - 3; i += 4) Avx512RowEnds.Scatter(Avx512RowEnds.Sum(parts + (16 * i)), column + (i * stride), stride);
                m += rows;
            }
        }
    }

    /// <summary>Where the scales of a B vector come from, one int16 a lane.</summary>
    private interface IScales
    {
        Vector512<short> Of(short* scales, int v);
    }

    /// <summary>A vector lies within one block.</summary>
    private readonly struct OneScale(int log2VectorsPerBlock) : IScales
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector512<short> Of(short* scales, int v) => Vector512.Create(scales[v >> log2VectorsPerBlock]);
    }

    /// <summary>A vector holds two to eight blocks, each on its own lanes.</summary>
    private readonly struct SeveralScales : IScales
    {
        private readonly int _log2BlocksPerVector;
        private readonly Vector512<short> _blockOfLane;

        public SeveralScales(int codes, int blockSize)
        {
            _log2BlocksPerVector = BitOperations.Log2((uint)(codes / blockSize));
            var lanes = stackalloc short[Lanes];
            for (var i = 0; i < Lanes; i++) lanes[i] = (short)(i * (codes / Lanes) / blockSize);
            _blockOfLane = Vector512.Load(lanes);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector512<short> Of(short* scales, int v) =>
            Avx512BW.PermuteVar32x16(Vector128.Load(scales + (v << _log2BlocksPerVector)).ToVector256Unsafe().ToVector512Unsafe(), _blockOfLane);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneRow<TScales>(in MatMulJob job, int m, byte* b, short* s, TScales scales, int* parts)
        where TScales : struct, IScales
    {
        var a = job.A8 + ((long)m * job.Weights.Shape.ActivationStride);
        var vectors = (job.Weights.Shape.RowBytes + 63) / 64;
        var nibble = Vector512.Create((byte)0xF);
        var acc = Vector512<int>.Zero;
        for (var v = 0; v < vectors; v++, b += 64, a += 128)
        {
            Sse.Prefetch0(b + PrefetchAhead);
            var c = Vector512.Load(b);
            acc += Avx512BW.MultiplyAddAdjacent(Pairs(c & nibble, High(c) & nibble, a), scales.Of(s, v));
        }

        acc.Store(parts);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneRowOfBytes<TScales>(in MatMulJob job, int m, byte* b, short* s, TScales scales, int* parts)
        where TScales : struct, IScales
    {
        var a = job.A8 + ((long)m * job.Weights.Shape.ActivationStride);
        var vectors = (job.Weights.Shape.RowBytes + 63) / 64;
        var nibble = Vector512.Create((byte)0xF);
        Vector512<int> acc = default, high = default;
        for (var v = 0; v < vectors; v++, b += 64, a += 64)
        {
            Sse.Prefetch0(b + PrefetchAhead);
            var codes = Vector512.Load(b);
            var activations = Vector512.Load(a);
            var scale = scales.Of(s, v);
            acc += Avx512BW.MultiplyAddAdjacent(Avx512BW.MultiplyAddAdjacent(codes & nibble, activations), scale);
            high += Avx512BW.MultiplyAddAdjacent(Avx512BW.MultiplyAddAdjacent(High(codes) & nibble, activations), scale);
        }

        (acc + (high << 4)).Store(parts);
    }

    /// <summary>4 bits, one row, channels n..n+4, none of which may need <see cref="RowReader"/>'s copy.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourChannels<TScales>(in MatMulJob job, int m, int n, TScales scales, int* parts)
        where TScales : struct, IScales
    {
        var shape = job.Weights.Shape;
        long row = shape.RowBytes;
        var a = job.A8 + ((long)m * shape.ActivationStride);
        var b = job.Weights.Block(n, 0);
        var b3 = b + (3 * row);
        var s = job.Weights.ScalesOf(n);
        short* s1 = s + shape.KBlocks, s2 = s1 + shape.KBlocks, s3 = s2 + shape.KBlocks;
        var ahead = 4 * row;
        var vectors = (shape.RowBytes + 63) / 64;
        var nibble = Vector512.Create((byte)0xF);
        Vector512<int> acc0 = default, acc1 = default, acc2 = default, acc3 = default;
        for (var v = 0; v < vectors; v++, b += 64, b3 += 64, a += 128)
        {
            // The same place of the next four channels.
            Sse.Prefetch0(b + ahead);
            Sse.Prefetch0(b + row + ahead);
            Sse.Prefetch0(b + (2 * row) + ahead);
            Sse.Prefetch0(b3 + ahead);
            var even = Vector512.Load(a);
            var odd = Vector512.Load(a + (ActivationOrder.Chunk / 2));
            acc0 += Avx512BW.MultiplyAddAdjacent(Pairs(Vector512.Load(b), nibble, even, odd), scales.Of(s, v));
            acc1 += Avx512BW.MultiplyAddAdjacent(Pairs(Vector512.Load(b + row), nibble, even, odd), scales.Of(s1, v));
            acc2 += Avx512BW.MultiplyAddAdjacent(Pairs(Vector512.Load(b + (2 * row)), nibble, even, odd), scales.Of(s2, v));
            acc3 += Avx512BW.MultiplyAddAdjacent(Pairs(Vector512.Load(b3), nibble, even, odd), scales.Of(s3, v));
        }

        acc0.Store(parts);
        acc1.Store(parts + 16);
        acc2.Store(parts + 32);
        acc3.Store(parts + 48);
    }

    /// <summary>4 bits, rows m..m+4, so that codes are unpacked once for the four.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourRows<TScales>(in MatMulJob job, int m, byte* b, short* s, TScales scales, int* parts)
        where TScales : struct, IScales
    {
        var shape = job.Weights.Shape;
        long row = shape.ActivationStride;
        var a = job.A8 + (m * row);
        var a3 = a + (3 * row);
        var vectors = (shape.RowBytes + 63) / 64;
        var nibble = Vector512.Create((byte)0xF);
        Vector512<int> acc0 = default, acc1 = default, acc2 = default, acc3 = default;
        for (var v = 0; v < vectors; v++, b += 64, a += 128, a3 += 128)
        {
            Sse.Prefetch0(b + PrefetchAhead);
            var codes = Vector512.Load(b);
            var even = codes & nibble;
            var odd = High(codes) & nibble;
            var scale = scales.Of(s, v);
            acc0 += Avx512BW.MultiplyAddAdjacent(Pairs(even, odd, a), scale);
            acc1 += Avx512BW.MultiplyAddAdjacent(Pairs(even, odd, a + row), scale);
            acc2 += Avx512BW.MultiplyAddAdjacent(Pairs(even, odd, a + (2 * row)), scale);
            acc3 += Avx512BW.MultiplyAddAdjacent(Pairs(even, odd, a3), scale);
        }

        acc0.Store(parts);
        acc1.Store(parts + 16);
        acc2.Store(parts + 32);
        acc3.Store(parts + 48);
    }

    /// <summary>4 bits, rows m..m+8: all that 32 registers hold.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void EightRows<TScales>(in MatMulJob job, int m, byte* b, short* s, TScales scales, int* parts)
        where TScales : struct, IScales
    {
        var shape = job.Weights.Shape;
        long row = shape.ActivationStride;
        var a = job.A8 + (m * row);
        sbyte* a3 = a + (3 * row), a6 = a3 + (3 * row);
        var vectors = (shape.RowBytes + 63) / 64;
        var nibble = Vector512.Create((byte)0xF);
        Vector512<int> acc0 = default, acc1 = default, acc2 = default, acc3 = default, acc4 = default, acc5 = default, acc6 = default, acc7 = default;
        for (var v = 0; v < vectors; v++, b += 64, a += 128, a3 += 128, a6 += 128)
        {
            Sse.Prefetch0(b + PrefetchAhead);
            var codes = Vector512.Load(b);
            var even = codes & nibble;
            var odd = High(codes) & nibble;
            var scale = scales.Of(s, v);
            acc0 += Avx512BW.MultiplyAddAdjacent(Pairs(even, odd, a), scale);
            acc1 += Avx512BW.MultiplyAddAdjacent(Pairs(even, odd, a + row), scale);
            acc2 += Avx512BW.MultiplyAddAdjacent(Pairs(even, odd, a + (2 * row)), scale);
            acc3 += Avx512BW.MultiplyAddAdjacent(Pairs(even, odd, a3), scale);
            acc4 += Avx512BW.MultiplyAddAdjacent(Pairs(even, odd, a3 + row), scale);
            acc5 += Avx512BW.MultiplyAddAdjacent(Pairs(even, odd, a3 + (2 * row)), scale);
            acc6 += Avx512BW.MultiplyAddAdjacent(Pairs(even, odd, a6), scale);
            acc7 += Avx512BW.MultiplyAddAdjacent(Pairs(even, odd, a6 + row), scale);
        }

        acc0.Store(parts);
        acc1.Store(parts + 16);
        acc2.Store(parts + 32);
        acc3.Store(parts + 48);
        acc4.Store(parts + 64);
        acc5.Store(parts + 80);
        acc6.Store(parts + 96);
        acc7.Store(parts + 112);
    }

    /// <summary>The high nibbles, in the low ones' place; the high places hold the neighbours'.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<byte> High(Vector512<byte> codes) => (codes.AsUInt16() >>> 4).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<short> Pairs(Vector512<byte> even, Vector512<byte> odd, sbyte* a) =>
        Avx512BW.MultiplyAddAdjacent(even, Vector512.Load(a)) + Avx512BW.MultiplyAddAdjacent(odd, Vector512.Load(a + (ActivationOrder.Chunk / 2)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<short> Pairs(Vector512<byte> codes, Vector512<byte> nibble, Vector512<sbyte> even, Vector512<sbyte> odd) =>
        Avx512BW.MultiplyAddAdjacent(codes & nibble, even) + Avx512BW.MultiplyAddAdjacent(High(codes) & nibble, odd);
}
