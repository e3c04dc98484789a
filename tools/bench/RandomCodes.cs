using System.Runtime.InteropServices;

namespace Onnx.IntScale.Bench;

/// <summary>
/// Random quantized weights straight away, on all cores: nothing is drawn as a float and quantized. They look like the converter's:
/// a channel's integer scales are as large as the certificate's default limit allows, and the mean weight is 0.
/// 4 bits; the same on every machine.
/// </summary>
internal static class RandomCodes
{
    private const int ChannelsPerTask = 64;

    // Deviation of codes of which -7 to 7 come once in 16 and 0 twice: the root of 2 · (1 + 4 + ... + 49) / 16.
    private const double CodeDeviation = 4.1833;

    // Scales of a channel before they are stretched; the quotient of the largest and the smallest is 2.
    private const int LeastRatio = 1024;

    /// <summary>Draws a matrix.</summary>
    /// <param name="shape">K, N, block_size.</param>
    /// <param name="seed">Other seeds give other weights.</param>
    /// <param name="deviation">Standard deviation of the weights.</param>
    /// <param name="largestScale">Largest scale allowed.</param>
    public static WeightSet Draw(MatMulShape shape, ulong seed, double deviation, int largestScale = short.MaxValue)
    {
        if (shape.Bits != 4) throw new BenchException("random codes have 4 bits");
        var set = new WeightSet(shape);
        var certificates = new long[(shape.N + ChannelsPerTask - 1) / ChannelsPerTask];
        Parallel.For(0, certificates.Length, task =>
        {
            for (var n = task * ChannelsPerTask; n < Math.Min(shape.N, (task + 1) * ChannelsPerTask); n++)
                certificates[task] = Math.Max(certificates[task], DrawChannel(set, n, seed, deviation, largestScale));
        });
        set.MaxAccumulator = certificates.Max();
        return set;
    }

    /// <summary>SplitMix64: a good generator whose state may begin anywhere, so that every channel has one of its own.</summary>
    public static ulong SplitMix64(ref ulong state)
    {
        unchecked
        {
            var z = state += 0x9E3779B97F4A7C15;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return z ^ (z >> 31);
        }
    }

    private static unsafe long DrawChannel(WeightSet set, int n, ulong seed, double deviation, int largestScale)
    {
        var shape = set.Shape;
        var state = unchecked(seed + ((ulong)n * 0xD1B54A32D192ED03));
        state = SplitMix64(ref state);
        DrawCodes(set.B.AsSpan(checked(n * shape.RowBytes), shape.RowBytes), ref state);
        var scales = set.Scales.AsSpan(n * shape.KBlocks, shape.KBlocks);
        foreach (ref var scale in scales) scale = (short)(LeastRatio + (int)(SplitMix64(ref state) % (LeastRatio + 1)));
        fixed (byte* b = set.B)
        fixed (short* s = set.Scales)
        {
            // The scales as drawn are ratios; multiplied so that the channel's certificate just stays within the limit.
            var view = new WeightView(shape, b, s, null, null);
            var stretch = Math.Min(Certificate.DefaultLimit / (double)Math.Max(1, Certificate.OfRow(view, n)), largestScale / (2.0 * LeastRatio));
            var square = 0.0;
            foreach (ref var scale in scales)
            {
                scale = (short)Math.Max(1, scale * stretch);
                square += (double)scale * scale;
            }

            set.ChannelScales[n] = (float)(deviation / (CodeDeviation * Math.Sqrt(square / scales.Length)));
            return Certificate.OfRow(view, n);
        }
    }

    /// <summary>Sixteen codes at a time; a code of 0 (the only one without a counterpart) becomes 8, which stands for the weight 0.</summary>
    private static void DrawCodes(Span<byte> row, ref ulong state)
    {
        const ulong LowBits = 0x1111111111111111;
        var words = MemoryMarshal.Cast<byte, ulong>(row);
        foreach (ref var word in words)
        {
            var x = SplitMix64(ref state);
            var any = x | (x >> 1);
            any |= any >> 2;
            word = x | ((~any & LowBits) << 3);
        }

        // Rows are whole blocks of at least 16 codes, which are 8 bytes.
        if (words.Length * sizeof(ulong) != row.Length) throw new BenchException("a row of codes is not a multiple of 8 bytes");
    }
}
