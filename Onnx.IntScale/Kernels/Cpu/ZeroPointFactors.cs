using System.Runtime.Intrinsics;

namespace Onnx.IntScale;

/// <summary>
/// What kernels that multiply unsigned codes owe afterwards: acc[m] -= Σ_g f[g] · blocksum[m,g] with f[g] = scales[n,g] · zp[n,g].
/// One multiply-add a block, under 1 % of the dot product at block_size 128. Sums that wrap around on the way end up right.
/// </summary>
internal static unsafe class ZeroPointFactors
{
    /// <summary>Blocks dealt with at a time.</summary>
    public const int Step = 512;

    /// <summary>Lanes of the widest vector; factors are zero-padded to a multiple, and block sums may be read as far.</summary>
    private const int Lanes = 16;

    /// <summary>f[0..count] for blocks g0.. of channel n, zero-padded; at most <see cref="Step"/>.</summary>
    /// <returns>Blocks filled.</returns>
    public static int Fill(in WeightView w, int n, int g0, int* f)
    {
        var count = Math.Min(Step, w.Shape.KBlocks - g0);
        var scales = w.ScalesOf(n) + g0;
        var i = 0;
        if (w.ZeroPoints == null)
        {
            var zeroPoint = Vector256.Create(w.Shape.DefaultZeroPoint);
            for (; i <= count - 16; i += 16)
            {
                var (low, high) = Vector256.Widen(Vector256.Load(scales + i));
                (low * zeroPoint).Store(f + i);
                (high * zeroPoint).Store(f + i + 8);
            }
        }

        for (; i < count; i++) f[i] = scales[i] * w.ZeroPoint(n, g0 + i);
        for (; i % Lanes != 0; i++) f[i] = 0;
        return count;
    }
}
