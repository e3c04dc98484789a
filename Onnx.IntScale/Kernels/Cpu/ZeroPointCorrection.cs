using System.Runtime.Intrinsics;

namespace Onnx.IntScale;

/// <summary>
/// What a kernel that multiplies unsigned codes owes afterwards:
/// acc[m] -= Σ_g scales[n,g] · z[n,g] · blocksum[m,g], with z = zp for 4 bits and zp - 128 for 8 (whose codes it took as q - 128).
/// One multiply-add a block: under 1 % of the dot product at block_size 128.
/// </summary>
public static unsafe class ZeroPointCorrection
{
    private const int Step = 256;

    /// <summary>Corrects column n of a tile, rows m0..m1, laid out with the given stride.</summary>
    public static void Apply(in MatMulJob job, int m0, int m1, int n, int* column, int stride)
    {
        var shape = job.Weights.Shape;
        if (shape.Bits == 8 && job.Weights.ZeroPoints == null) return;
        var factors = stackalloc int[Step];
        var scales = job.Weights.ScalesOf(n);
        for (var g0 = 0; g0 < shape.KBlocks; g0 += Step)
        {
            var count = Math.Min(Step, shape.KBlocks - g0);
            for (var i = 0; i < count; i++)
            {
                var z = job.Weights.ZeroPoint(n, g0 + i) - (shape.Bits == 8 ? 128 : 0);
                factors[i] = scales[g0 + i] * z;
            }

            for (var m = m0; m < m1; m++)
                column[(m - m0) * stride] -= Dot(factors, job.BlockSums + ((long)m * shape.KBlocks) + g0, count);
        }
    }

    private static int Dot(int* x, int* y, int count)
    {
        var i = 0;
        var sum = Vector256<int>.Zero;
        for (; i <= count - 8; i += 8) sum += Vector256.Load(x + i) * Vector256.Load(y + i);
        var result = Vector256.Sum(sum);
        for (; i < count; i++) result += x[i] * y[i];
        return result;
    }
}
