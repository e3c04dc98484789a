using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>What follows the loops of <see cref="Avx512RowKernel"/>: zero points are taken off, and lanes added up.</summary>
internal static unsafe class Avx512RowEnds
{
    private const int Lanes = 32;

    /// <summary>parts[i] -= Σ_g scales[g] · zp[g] · blocksum[m + i, g], spread over lanes, for so many rows; scales past the last block meet zeros.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void TakeOffZeroPoints(in MatMulJob job, int m, int n, int rows, short* s, short* low, short* high, int* parts)
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
                Vector512<int> owedLow = default, owedHigh = default;
                for (var g = 0; g < count; g += Lanes) owedLow += Avx512BW.MultiplyAddAdjacent(Vector512.Load(lowPlane + g), Vector512.Load(sums + g));
                for (var g = 0; given && g < count; g += Lanes) owedHigh += Avx512BW.MultiplyAddAdjacent(Vector512.Load(high + g), Vector512.Load(sums + g));
                (Vector512.Load(parts + (16 * i)) - (owedLow << shift) - (owedHigh << ZeroPointPlanes.HighShift)).Store(parts + (16 * i));
            }
        }
    }

    /// <summary>
    /// The same for one row, channels n..n+4 of 4 bits and no given zero points, from the stored scales: short rows are many, so this counts.
    /// Scales past the last block meet zeros.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void TakeOffDefaultZeroPoints(in MatMulJob job, int m, int n, int* parts)
    {
        var blocks = job.Weights.Shape.KBlocks;
        var sums = job.BlockSums + ((long)m * job.Weights.Shape.BlockSumStride);
        var s = job.Weights.ScalesOf(n);
        Vector512<int> owed0 = default, owed1 = default, owed2 = default, owed3 = default;
        for (var g = 0; g < blocks; g += Lanes, s += Lanes)
        {
            var x = Vector512.Load(sums + g);
            owed0 += Avx512BW.MultiplyAddAdjacent(Vector512.Load(s), x);
            owed1 += Avx512BW.MultiplyAddAdjacent(Vector512.Load(s + blocks), x);
            owed2 += Avx512BW.MultiplyAddAdjacent(Vector512.Load(s + (2 * blocks)), x);
            owed3 += Avx512BW.MultiplyAddAdjacent(Vector512.Load(s + (3 * blocks)), x);
        }

        (Vector512.Load(parts) - (owed0 << 3)).Store(parts);
        (Vector512.Load(parts + 16) - (owed1 << 3)).Store(parts + 16);
        (Vector512.Load(parts + 32) - (owed2 << 3)).Store(parts + 32);
        (Vector512.Load(parts + 48) - (owed3 << 3)).Store(parts + 48);
    }

    /// <summary>The lanes' sums of four vectors.</summary>
    public static Vector128<int> Sum(int* parts)
    {
        var (x0, x1, x2, x3) = (Vector512.Load(parts), Vector512.Load(parts + 16), Vector512.Load(parts + 32), Vector512.Load(parts + 48));
        var x01 = Avx512F.UnpackLow(x0, x1) + Avx512F.UnpackHigh(x0, x1);
        var x23 = Avx512F.UnpackLow(x2, x3) + Avx512F.UnpackHigh(x2, x3);
        var all = Avx512F.UnpackLow(x01.AsInt64(), x23.AsInt64()).AsInt32() + Avx512F.UnpackHigh(x01.AsInt64(), x23.AsInt64()).AsInt32();
        var half = all.GetLower() + all.GetUpper();
        return half.GetLower() + half.GetUpper();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scatter(Vector128<int> sums, int* column, int stride)
    {
        column[0] = sums[0];
        column[stride] = sums[1];
        column[2 * stride] = sums[2];
        column[3 * stride] = sums[3];
    }
}
