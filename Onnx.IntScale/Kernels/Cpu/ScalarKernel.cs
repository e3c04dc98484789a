namespace Onnx.IntScale;

/// <summary>
/// The specification of the integer part of the operator:
/// acc[m,n] = Σ_g scales[n,g] · Σ_{k in g} a8[m,k] · (q[n,k] - zp[n,g]).
/// Every other kernel must equal it bit for bit.
/// </summary>
public static unsafe class ScalarKernel
{
    /// <inheritdoc cref="AccumulateTile"/>
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc)
    {
        var shape = job.Weights.Shape;
        for (var m = m0; m < m1; m++)
        {
            var a = job.A8 + ((long)m * shape.ActivationStride);
            for (var n = n0; n < n1; n++)
            {
                var scales = job.Weights.ScalesOf(n);
                var sum = 0;
                for (var g = 0; g < shape.KBlocks; g++)
                {
                    var block = job.Weights.Block(n, g);
                    var zeroPoint = job.Weights.ZeroPoint(n, g);
                    var dot = 0;
                    for (var i = 0; i < shape.BlockSize; i++)
                    {
                        var q = shape.Bits == 8 ? block[i] : (block[i >> 1] >> ((i & 1) * 4)) & 0xF;
                        dot += a[ActivationOrder.PositionOf((g * shape.BlockSize) + i, shape.Bits)] * (q - zeroPoint);
                    }

                    sum = unchecked(sum + (scales[g] * dot));
                }

                *acc++ = sum;
            }
        }
    }
}
