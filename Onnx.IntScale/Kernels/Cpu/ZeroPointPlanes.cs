namespace Onnx.IntScale;

/// <summary>
/// What kernels that multiply unsigned codes owe afterwards: acc[m] -= Σ_g f[g] · blocksum[m,g] with f[g] = scales[n,g] · zp[n,g].
/// Block sums fit int16, so that one multiply-add of int16 pairs takes two blocks if f comes in planes of int16:
/// <code>
/// no zero points given:   f = scales &lt;&lt; (bits - 1)            one plane, the scales themselves
/// zero points given:      f = low + (high &lt;&lt; 8)               0 ≤ low ≤ 255
/// </code>
/// Sums that wrap around on the way end up right.
/// </summary>
internal static unsafe class ZeroPointPlanes
{
    /// <summary>Blocks dealt with at a time.</summary>
    public const int Step = 512;

    /// <summary>Planes are zero-padded to a multiple: the int16 lanes of the widest vector.</summary>
    public const int Lanes = 32;

    /// <summary>What the sum over the high plane is shifted by.</summary>
    public const int HighShift = 8;

    /// <summary>What the sum over the low plane is shifted by.</summary>
    public static int LowShift(in WeightView w) => w.ZeroPoints == null ? w.Shape.Bits - 1 : 0;

    /// <summary>The planes of blocks g0.. of channel n, zero-padded; at most <see cref="Step"/>. The high one is left alone where no zero points are given.</summary>
    /// <returns>Blocks filled.</returns>
    public static int Fill(in WeightView w, int n, int g0, short* low, short* high)
    {
        var count = Math.Min(Step, w.Shape.KBlocks - g0);
        var padded = (count + Lanes - 1) & -Lanes;
        var scales = w.ScalesOf(n) + g0;
        new ReadOnlySpan<short>(scales, count).CopyTo(new Span<short>(low, count));
        new Span<short>(low + count, padded - count).Clear();
        if (w.ZeroPoints == null) return count;

        new Span<short>(high + count, padded - count).Clear();
        for (var g = 0; g < count; g++)
        {
            var factor = scales[g] * w.ZeroPoint(n, g0 + g);
            low[g] = (short)(factor & 0xFF);
            high[g] = (short)(factor >> HighShift);
        }

        return count;
    }
}
