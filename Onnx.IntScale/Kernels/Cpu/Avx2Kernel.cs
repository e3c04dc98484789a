using System.Numerics;
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
    private const int PrefetchAhead = 4096;
    private const int Lanes = 8;

    /// <summary>Whether this processor has AVX2.</summary>
    public static bool IsSupported => Avx2.IsSupported;

    /// <inheritdoc cref="AccumulateTile"/>
    [SkipLocalsInit]
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc)
    {
        var shape = job.Weights.Shape;
        if (RowReader.IsTooLong(shape))
        {
            ScalarKernel.Accumulate(job, m0, m1, n0, n1, acc);
            return;
        }

        var stride = n1 - n0;
        var low = stackalloc short[ZeroPointPlanes.Step];
        var high = stackalloc short[ZeroPointPlanes.Step];
        var parts = stackalloc int[4 * Lanes];
        var copy = stackalloc byte[RowReader.CopyBytes(shape)];
        var reader = new RowReader(job.Weights, copy);
        var scales = new BlockScales(shape);
        for (var n = n0; n < n1; n++)
        {
            reader.Row(n, out var b, out var s);
            for (var m = m0; m < m1;)
            {
                var rows = shape.Bits == 4 && m1 - m >= 4 ? 4 : 1;
                if (rows == 4) FourRows(job, m, b, s, scales, parts);
                else if (shape.Bits == 4) OneRow(job, m, b, s, scales, parts);
                else OneRowOfBytes(job, m, b, s, scales, parts);

                TakeOffZeroPoints(job, m, n, rows, low, high, parts);
                for (var i = 0; i < rows; i++, m++) acc[((m - m0) * stride) + (n - n0)] = Vector256.Sum(Vector256.Load(parts + (Lanes * i)));
            }
        }
    }

    /// <summary>The scales of a B vector, one int16 a lane: of one block, or of two or four, each on its own lanes.</summary>
    private readonly struct BlockScales
    {
        private readonly Vector256<byte> _bytesOfLanes;
        private readonly int _log2VectorsPerBlock;
        private readonly int _log2BlocksPerVector;

        public BlockScales(MatMulShape shape)
        {
            var codes = 32 * 8 / shape.Bits;
            _log2VectorsPerBlock = BitOperations.Log2((uint)Math.Max(1, shape.BlockSize / codes));
            _log2BlocksPerVector = BitOperations.Log2((uint)Math.Max(1, codes / shape.BlockSize));
            var bytes = stackalloc byte[32];
            for (var i = 0; i < 32; i++) bytes[i] = (byte)((i * codes / 32 / shape.BlockSize * 2) + (i & 1));
            _bytesOfLanes = Vector256.Load(bytes);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector256<short> Of(short* scales, int v) => _log2BlocksPerVector == 0
            ? Vector256.Create(scales[v >> _log2VectorsPerBlock])
            : Avx2.Shuffle(Vector256.Create(*(long*)(scales + (v << _log2BlocksPerVector))).AsByte(), _bytesOfLanes).AsInt16();
    }

    private static void OneRow(in MatMulJob job, int m, byte* b, short* s, in BlockScales scales, int* parts)
    {
        var a = job.A8 + ((long)m * job.Weights.Shape.ActivationStride);
        var vectors = (job.Weights.Shape.RowBytes + 31) / 32;
        var nibble = Vector256.Create((byte)0xF);
        var blockScales = scales;
        var acc = Vector256<int>.Zero;
        for (var v = 0; v < vectors; v++, b += 32)
        {
            Sse.Prefetch0(b + PrefetchAhead);
            var codes = Vector256.Load(b);
            acc += Avx2.MultiplyAddAdjacent(Pairs(codes & nibble, High(codes) & nibble, a + EvenAt(v)), blockScales.Of(s, v));
        }

        acc.Store(parts);
    }

    /// <summary>8-bit codes as two planes of nibbles: q = 16·high + low.</summary>
    private static void OneRowOfBytes(in MatMulJob job, int m, byte* b, short* s, in BlockScales scales, int* parts)
    {
        var a = job.A8 + ((long)m * job.Weights.Shape.ActivationStride);
        var vectors = (job.Weights.Shape.RowBytes + 31) / 32;
        var nibble = Vector256.Create((byte)0xF);
        var blockScales = scales;
        Vector256<int> acc = default, high = default;
        for (var v = 0; v < vectors; v++, b += 32, a += 32)
        {
            Sse.Prefetch0(b + PrefetchAhead);
            var codes = Vector256.Load(b);
            var activations = Vector256.Load(a);
            var scale = blockScales.Of(s, v);
            acc += Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(codes & nibble, activations), scale);
            high += Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(High(codes) & nibble, activations), scale);
        }

        (acc + (high << 4)).Store(parts);
    }

    /// <summary>4 bits, rows m..m+4, so that codes are unpacked once for the four.</summary>
    private static void FourRows(in MatMulJob job, int m, byte* b, short* s, in BlockScales scales, int* parts)
    {
        var shape = job.Weights.Shape;
        long row = shape.ActivationStride;
        var vectors = (shape.RowBytes + 31) / 32;
        var nibble = Vector256.Create((byte)0xF);
        var blockScales = scales;
        Vector256<int> acc0 = default, acc1 = default, acc2 = default, acc3 = default;
        for (var v = 0; v < vectors; v++, b += 32)
        {
            Sse.Prefetch0(b + PrefetchAhead);
            var codes = Vector256.Load(b);
            var even = codes & nibble;
            var odd = High(codes) & nibble;
            var scale = blockScales.Of(s, v);
            var a = job.A8 + (m * row) + EvenAt(v);
            acc0 += Avx2.MultiplyAddAdjacent(Pairs(even, odd, a), scale);
            acc1 += Avx2.MultiplyAddAdjacent(Pairs(even, odd, a + row), scale);
            acc2 += Avx2.MultiplyAddAdjacent(Pairs(even, odd, a + (2 * row)), scale);
            acc3 += Avx2.MultiplyAddAdjacent(Pairs(even, odd, a + (3 * row)), scale);
        }

        acc0.Store(parts);
        acc1.Store(parts + Lanes);
        acc2.Store(parts + (2 * Lanes));
        acc3.Store(parts + (3 * Lanes));
    }

    /// <summary>parts[i] -= Σ_g scales[g] · zp[g] · blocksum[m + i, g], spread over lanes.</summary>
    private static void TakeOffZeroPoints(in MatMulJob job, int m, int n, int rows, short* low, short* high, int* parts)
    {
        var shape = job.Weights.Shape;
        var given = job.Weights.ZeroPoints != null;
        var shift = ZeroPointPlanes.LowShift(job.Weights);
        for (var g0 = 0; g0 < shape.KBlocks; g0 += ZeroPointPlanes.Step)
        {
            var count = ZeroPointPlanes.Fill(job.Weights, n, g0, low, high);
            for (var i = 0; i < rows; i++)
            {
                var sums = job.BlockSums + ((long)(m + i) * shape.BlockSumStride) + g0;
                Vector256<int> owedLow = default, owedHigh = default;
                for (var g = 0; g < count; g += 2 * Lanes) owedLow += Avx2.MultiplyAddAdjacent(Vector256.Load(low + g), Vector256.Load(sums + g));
                for (var g = 0; given && g < count; g += 2 * Lanes) owedHigh += Avx2.MultiplyAddAdjacent(Vector256.Load(high + g), Vector256.Load(sums + g));
                (Vector256.Load(parts + (Lanes * i)) - (owedLow << shift) - (owedHigh << ZeroPointPlanes.HighShift)).Store(parts + (Lanes * i));
            }
        }
    }

    /// <summary>Where the even k of B vector v lie; its odd k lie half a chunk further.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int EvenAt(int v) => ((v >> 1) * ActivationOrder.Chunk) + ((v & 1) * 32);

    /// <summary>The high nibbles, in the low ones' place; the high places hold the neighbours'.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<byte> High(Vector256<byte> codes) => (codes.AsUInt16() >>> 4).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<short> Pairs(Vector256<byte> even, Vector256<byte> odd, sbyte* a) =>
        Avx2.MultiplyAddAdjacent(even, Vector256.Load(a)) + Avx2.MultiplyAddAdjacent(odd, Vector256.Load(a + (ActivationOrder.Chunk / 2)));
}
