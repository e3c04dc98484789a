namespace Onnx.IntScale;

/// <summary>
/// Float group scales of one output channel → integers times one float:
/// s[g] ≈ scales[g] · channel_scale. The amplifier is what s was multiplied by, 1 / channel_scale.
/// (Integer Scale, arXiv 2405.14597, with the amplifier chosen per channel and certified.)
/// </summary>
public static class IntegerScale
{
    /// <summary>
    /// The largest unit count S for which the channel passes the limit, given its codes' magnitudes: scales[g] = round(|s[g]| / max|s| · S),
    /// 127 · Σ scales[g] · magnitudes[g] ≤ limit, S ≤ largest. The left side grows with S, so it is found by bisection. 0 where not even S = 1 passes.
    /// </summary>
    /// <param name="s">Float scales [k_blocks].</param>
    /// <param name="magnitudes">Σ|code| of each block [k_blocks].</param>
    /// <param name="limit">Largest certificate allowed.</param>
    /// <param name="largest">Largest scale allowed.</param>
    public static int LargestUnits(ReadOnlySpan<float> s, ReadOnlySpan<int> magnitudes, long limit, int largest = short.MaxValue)
    {
        var max = MaxMagnitude(s);
        var (low, high) = (0, largest);
        while (low < high)
        {
            var middle = (low + high + 1) / 2;
            if (Bound(s, magnitudes, middle / max) <= limit) low = middle;
            else high = middle - 1;
        }

        return low;
    }

    /// <summary>The paper's amplifier for a matrix: the smallest 2^i for which min|s| · 2^i ≥ 1, zeros left out; at most 2^30.</summary>
    public static int PaperAmplifier(ReadOnlySpan<float> scales)
    {
        var min = float.PositiveInfinity;
        foreach (var s in scales)
        {
            if (s != 0) min = MathF.Min(min, MathF.Abs(s));
        }

        var amplifier = 1;
        while (amplifier < 1 << 30 && min * amplifier < 1) amplifier *= 2;
        return amplifier;
    }

    /// <summary>scales[g] = round(s[g] · amplifier); a scale that is not zero never becomes zero, which would lose its block.</summary>
    /// <returns>False where one passes the largest allowed.</returns>
    public static bool Round(ReadOnlySpan<float> s, double amplifier, Span<short> scales, int largest = short.MaxValue)
    {
        for (var g = 0; g < s.Length; g++)
        {
            var units = Units(s[g], amplifier);
            if (units > largest) return false;
            scales[g] = (short)(s[g] < 0 ? -units : units);
        }

        return true;
    }

    /// <summary>127 · Σ_g |scales[g]| · magnitudes[g].</summary>
    public static long Bound(ReadOnlySpan<short> scales, ReadOnlySpan<int> magnitudes)
    {
        var sum = 0L;
        for (var g = 0; g < scales.Length; g++) sum += Math.Abs((long)scales[g]) * magnitudes[g];
        return 127 * sum;
    }

    /// <summary>max |s|.</summary>
    public static float MaxMagnitude(ReadOnlySpan<float> s)
    {
        var max = 0f;
        foreach (var value in s) max = MathF.Max(max, MathF.Abs(value));
        return max;
    }

    private static long Bound(ReadOnlySpan<float> s, ReadOnlySpan<int> magnitudes, double amplifier)
    {
        var sum = 0L;
        for (var g = 0; g < s.Length; g++) sum += Units(s[g], amplifier) * magnitudes[g];
        return 127 * sum;
    }

    private static long Units(float s, double amplifier) =>
        s == 0 ? 0 : Math.Max(1, (long)Math.Round(Math.Abs(s) * amplifier, MidpointRounding.ToEven));
}
