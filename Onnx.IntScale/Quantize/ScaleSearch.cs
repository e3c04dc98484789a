namespace Onnx.IntScale;

/// <summary>
/// Integer scales of a channel where they are few: rounding float scales to them would show, so the unit and every block's scale are
/// chosen by the error of the weights, with codes rounded against the scale that the operator will use.
/// </summary>
internal static class ScaleSearch
{
    /// <summary>Above it, scales are so many that rounding costs nothing that can be measured.</summary>
    public const int Largest = 127;

    // Units tried, as what the channel's largest float scale is in them, over the largest scale allowed.
    private const double First = 0.6;
    private const double Last = 1.1;
    private const int Steps = 40;

    // Integers tried below and above a block's float scale: what is left of the error does not fall and rise just once.
    private const int Reach = 2;

    /// <summary>The scales of least squared error.</summary>
    /// <param name="w">Weights of the channel, zero-padded [PaddedK].</param>
    /// <param name="shape">Bits and block_size.</param>
    /// <param name="s">Float scales [KBlocks], not all of them 0.</param>
    /// <param name="largest">Largest scale allowed.</param>
    /// <param name="scales">Destination [KBlocks].</param>
    /// <returns>The unit.</returns>
    public static float Run(ReadOnlySpan<float> w, MatMulShape shape, ReadOnlySpan<float> s, int largest, Span<short> scales)
    {
        // Squares of huge and tiny weights would be infinite or zero: the search is of weights times a power of two, which changes no choice.
        var exponent = -MathF.ILogB(IntegerScale.MaxMagnitude(s));
        w = Times2To(exponent, w);
        s = Times2To(exponent, s);
        var max = IntegerScale.MaxMagnitude(s);
        var (best, least) = (0f, double.PositiveInfinity);
        Span<short> tried = new short[s.Length];
        for (var i = 0; i <= Steps; i++)
        {
            var unit = (float)(max / (largest * (First + ((Last - First) * i / Steps))));
            var error = 0.0;
            for (var g = 0; g < s.Length; g++) error += Nearest(w.Slice(g * shape.BlockSize, shape.BlockSize), shape.Bits, s[g], unit, largest, out tried[g]);
            if (error >= least) continue;
            (best, least) = (unit, error);
            tried.CopyTo(scales);
        }

        return MathF.ScaleB(best, -exponent);
    }

    private static float[] Times2To(int exponent, ReadOnlySpan<float> values)
    {
        var scaled = new float[values.Length];
        for (var i = 0; i < scaled.Length; i++) scaled[i] = MathF.ScaleB(values[i], exponent);
        return scaled;
    }

    /// <summary>The best one of the integers around a block's float scale, and its error.</summary>
    private static double Nearest(ReadOnlySpan<float> block, int bits, float s, float unit, int largest, out short scale)
    {
        scale = 0;
        if (s == 0) return BlockScale.Error(block, 0, bits);
        var near = (int)Math.Min(Math.Round(Math.Abs(s) / unit), largest);
        var least = double.PositiveInfinity;
        for (var magnitude = Math.Max(1, near - Reach); magnitude <= Math.Min(largest, near + Reach); magnitude++)
        {
            var tried = s < 0 ? -magnitude : magnitude;
            var error = BlockScale.Error(block, tried * unit, bits);
            if (error < least) (scale, least) = ((short)tried, error);
        }

        return least;
    }
}
