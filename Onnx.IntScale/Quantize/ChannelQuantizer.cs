namespace Onnx.IntScale;

/// <summary>
/// One output channel: float scales → integer scales within the accumulator limit → codes rounded again against the scales that the
/// operator will really use, which hides the rounding of the scales.
/// </summary>
public static class ChannelQuantizer
{
    /// <summary>What is settled for a channel besides its codes and integer scales.</summary>
    /// <param name="ChannelScale">What the integers are in units of.</param>
    /// <param name="Lowered">Whether a given amplifier had to be lowered to pass the limit, or the largest scale allowed.</param>
    public readonly record struct Result(float ChannelScale, bool Lowered);

    /// <summary>Float scales of a channel, one a block, by the method asked for.</summary>
    /// <param name="w">Weights of the channel, zero-padded [PaddedK].</param>
    /// <param name="shape">Bits and block_size.</param>
    /// <param name="method">How.</param>
    /// <param name="s">Destination [KBlocks].</param>
    public static void FloatScales(ReadOnlySpan<float> w, MatMulShape shape, ScaleMethod method, Span<float> s)
    {
        for (var g = 0; g < s.Length; g++)
        {
            var block = w.Slice(g * shape.BlockSize, shape.BlockSize);
            s[g] = method == ScaleMethod.Mse ? BlockScale.Mse(block, shape.Bits) : BlockScale.Rtn(block, shape.Bits);
        }
    }

    /// <summary>Integer scales and codes of a channel.</summary>
    /// <param name="w">Weights of the channel, zero-padded [PaddedK].</param>
    /// <param name="shape">Bits and block_size.</param>
    /// <param name="s">Float scales [KBlocks].</param>
    /// <param name="amplifier">The matrix' amplifier, or 0 for the channel's own.</param>
    /// <param name="limit">Largest certificate allowed.</param>
    /// <param name="largest">Largest scale allowed.</param>
    /// <param name="scales">Destination: integer scales [KBlocks].</param>
    /// <param name="codes">Destination: signed codes [PaddedK].</param>
    /// <returns>Null where no scales pass the limit.</returns>
    public static Result? Quantize(
        ReadOnlySpan<float> w, MatMulShape shape, ReadOnlySpan<float> s, double amplifier, long limit, int largest, Span<short> scales, Span<sbyte> codes)
    {
        var max = IntegerScale.MaxMagnitude(s);
        if (max == 0)
        {
            scales.Clear();
            codes.Clear();
            return new(amplifier == 0 ? 1 : (float)(1 / amplifier), false);
        }

        Span<int> magnitudes = new int[s.Length];
        for (var most = amplifier == 0 && largest <= ScaleSearch.Largest ? largest : 0; most > 0;)
        {
            var unit = ScaleSearch.Run(w, shape, s, most, scales);
            for (var g = 0; g < s.Length; g++) magnitudes[g] = Round(w, shape, g, scales[g] * unit, codes);
            var bound = IntegerScale.Bound(scales, magnitudes);
            if (bound <= limit) return new(unit, false);
            most = Math.Min(most - 1, (int)(most * (limit / (double)bound)));
        }

        for (var g = 0; g < s.Length; g++) magnitudes[g] = Round(w, shape, g, s[g], codes);
        var units = amplifier == 0 ? IntegerScale.LargestUnits(s, magnitudes, limit, largest) : 0;
        var current = amplifier == 0 ? units / (double)max : amplifier;
        while (true)
        {
            var fits = current > 0 && IntegerScale.Round(s, current, scales, largest);
            if (fits)
            {
                var unit = (float)(1 / current);
                for (var g = 0; g < s.Length; g++) magnitudes[g] = Round(w, shape, g, scales[g] * unit, codes);
                var bound = IntegerScale.Bound(scales, magnitudes);
                if (bound <= limit) return new(unit, amplifier != 0 && current != amplifier);
                if (current * max < 1) return null;
                if (amplifier == 0) units -= (int)Math.Max(1, Math.Ceiling(units * ((bound - limit) / (double)bound)));
            }
            else if (current <= 0)
            {
                return null;
            }

            // The channel's own amplifier gives way by what the new codes exceed the limit; a given one halves, staying a simple fraction of it.
            current = amplifier == 0 ? units / (double)max : current / 2;
        }
    }

    /// <summary>Rounds block g to codes; returns Σ|code|.</summary>
    private static int Round(ReadOnlySpan<float> w, MatMulShape shape, int g, float scale, Span<sbyte> codes)
    {
        var block = codes.Slice(g * shape.BlockSize, shape.BlockSize);
        BlockScale.Codes(w.Slice(g * shape.BlockSize, shape.BlockSize), scale, shape.Bits, block);
        var sum = 0;
        foreach (var code in block) sum += Math.Abs((int)code);
        return sum;
    }
}
