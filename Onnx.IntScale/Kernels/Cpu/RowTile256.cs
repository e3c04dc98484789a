using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>
/// The dot products of one channel, by 256-bit vectors along k, without zero points: eight int32 a row of A, whose sum is
/// Σ_g scales[g] · Σ_{k in g} a8[m,k] · q[k]. A loop that stores its accumulators and returns keeps them in registers; around a call the
/// register allocator would spill them. So what follows the loops is <see cref="RowTile256"/>'s.
/// </summary>
internal unsafe interface IRowLoops
{
    /// <summary>Scales as the loops want them.</summary>
    static abstract BlockScales Scales(MatMulShape shape);

    /// <summary>4 bits, row m: parts[8].</summary>
    static abstract void OneRow(in MatMulJob job, int m, byte* b, short* s, in BlockScales scales, int* parts);

    /// <summary>4 bits, rows m..m+4, so that codes are unpacked once for the four: parts[4, 8].</summary>
    static abstract void FourRows(in MatMulJob job, int m, byte* b, short* s, in BlockScales scales, int* parts);

    /// <summary>8 bits, row m: parts[8].</summary>
    static abstract void OneRowOfBytes(in MatMulJob job, int m, byte* b, short* s, in BlockScales scales, int* parts);
}

/// <summary>What the 256-bit row kernels have in common: a tile by <see cref="IRowLoops"/>, its zero points and the sums of lanes.</summary>
internal static unsafe class RowTile256
{
    /// <summary>Bytes ahead of the weights in use that loops ask for: what memory needs to keep up with one row of A.</summary>
    public const int PrefetchAhead = 4096;

    /// <summary>int32 lanes of a vector.</summary>
    public const int Lanes = 8;

    /// <inheritdoc cref="AccumulateTile"/>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Accumulate<TLoops>(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc)
        where TLoops : struct, IRowLoops
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
        var scales = TLoops.Scales(shape);

        // Rows outside: four of A stay in the first cache and a tile's weights, an eighth of the bytes, pass by. Inside, all rows of A
        // would pass by for every channel.
        for (int m = m0, rows; m < m1; m += rows)
        {
            rows = shape.Bits == 4 && m1 - m >= 4 ? 4 : 1;
            for (var n = n0; n < n1; n++)
            {
                reader.Row(n, out var b, out var s);
                if (rows == 4) TLoops.FourRows(job, m, b, s, scales, parts);
                else if (shape.Bits == 4) TLoops.OneRow(job, m, b, s, scales, parts);
                else TLoops.OneRowOfBytes(job, m, b, s, scales, parts);

                TakeOffZeroPoints(job, m, n, rows, s, low, high, parts);
                for (var i = 0; i < rows; i++) acc[((m - m0 + i) * stride) + (n - n0)] = Vector256.Sum(Vector256.Load(parts + (Lanes * i)));
            }
        }
    }

    /// <summary>Where the even k of a vector of 4-bit codes lie; its odd k lie half a chunk further.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int EvenAt(int v) => ((v >> 1) * ActivationOrder.Chunk) + ((v & 1) * 32);

    /// <summary>The high nibbles, in the low ones' place; the high places hold the neighbours'.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> High(Vector256<byte> codes) => (codes.AsUInt16() >>> 4).AsByte();

    /// <summary>
    /// parts[i] -= Σ_g scales[g] · zp[g] · blocksum[m + i, g], spread over lanes: <see cref="ZeroPointPlanes"/>, where the only plane may
    /// be the stored scales themselves. Scales past the last block meet zeros.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void TakeOffZeroPoints(in MatMulJob job, int m, int n, int rows, short* s, short* low, short* high, int* parts)
    {
        var shape = job.Weights.Shape;
        var given = job.Weights.ZeroPoints != null;
        var shift = ZeroPointPlanes.LowShift(job.Weights);
        for (var g0 = 0; g0 < shape.KBlocks; g0 += ZeroPointPlanes.Step)
        {
            var count = given ? ZeroPointPlanes.Fill(job.Weights, n, g0, low, high) : Math.Min(ZeroPointPlanes.Step, shape.KBlocks - g0);
            var lowPlane = given ? low : s + g0;
            for (var i = 0; i < rows; i++)
            {
                var sums = job.BlockSums + ((long)(m + i) * shape.BlockSumStride) + g0;
                Vector256<int> owedLow = default, owedHigh = default;
                for (var g = 0; g < count; g += 2 * Lanes) owedLow += Avx2.MultiplyAddAdjacent(Vector256.Load(lowPlane + g), Vector256.Load(sums + g));
                for (var g = 0; given && g < count; g += 2 * Lanes) owedHigh += Avx2.MultiplyAddAdjacent(Vector256.Load(high + g), Vector256.Load(sums + g));
                (Vector256.Load(parts + (Lanes * i)) - (owedLow << shift) - (owedHigh << ZeroPointPlanes.HighShift)).Store(parts + (Lanes * i));
            }
        }
    }
}
