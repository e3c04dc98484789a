namespace Onnx.IntScale.Tests;

/// <summary>
/// The operator's formulas, written down a second time and independent of the library's kernels, in the simplest way:
/// what they give must be met bit for bit.
/// </summary>
internal static class OpReference
{
    /// <summary>Y [m, N] in the case's element type.</summary>
    public static byte[] Compute(OpCase c, byte[] a, int m)
    {
        var y = new byte[m * c.N * c.ElementSize];
        var codes = new int[c.K];
        for (var row = 0; row < m; row++)
        {
            var max = 0f;
            for (var k = 0; k < c.K; k++) max = Math.Max(max, Math.Abs(c.ReadElement(a, (row * c.K) + k)));
            var aScale = max / 127f;
            var inverse = 127f / max;
            for (var k = 0; k < c.K; k++)
            {
                var product = c.ReadElement(a, (row * c.K) + k) * inverse;
                codes[k] = max == 0 ? 0 : (int)MathF.Round(product, MidpointRounding.ToEven);
            }

            for (var n = 0; n < c.N; n++)
            {
                var sum = 0;
                for (var g = 0; g < c.KBlocks; g++)
                {
                    var dot = 0;
                    for (var k = g * c.BlockSize; k < Math.Min(c.K, (g + 1) * c.BlockSize); k++) dot += codes[k] * (Code(c, n, k) - ZeroPoint(c, n, g));
                    sum = checked(sum + (Scale(c, n, g) * dot));
                }

                var scale = aScale * BitConverter.ToSingle(c.Constants["channel_scales"].Data, n * 4);
                var value = sum * scale;
                if (c.WithBias) value += c.ReadElement(c.Constants["bias"].Data, n);
                c.WriteElement(y, (row * c.N) + n, value);
            }
        }

        return y;
    }

    /// <summary>max over n of 127 · Σ_g |scales| · Σ_{k in g} |q - zp|.</summary>
    public static long MaxAccumulator(OpCase c)
    {
        var max = 0L;
        for (var n = 0; n < c.N; n++)
        {
            var sum = 0L;
            for (var k = 0; k < c.K; k++) sum += (long)Math.Abs(Scale(c, n, k / c.BlockSize)) * Math.Abs(Code(c, n, k) - ZeroPoint(c, n, k / c.BlockSize));
            max = Math.Max(max, 127 * sum);
        }

        return max;
    }

    private static int Code(OpCase c, int n, int k)
    {
        var element = ((n * c.KBlocks) * c.BlockSize) + k;
        var data = c.Constants["B"].Data;
        return c.Bits == 8 ? data[element] : (data[element / 2] >> (element % 2 * 4)) & 15;
    }

    private static int Scale(OpCase c, int n, int g) => BitConverter.ToInt16(c.Constants["scales"].Data, ((n * c.KBlocks) + g) * 2);

    private static int ZeroPoint(OpCase c, int n, int g)
    {
        if (!c.WithZeroPoints) return c.Bits == 8 ? 128 : 8;
        var data = c.Constants["zero_points"].Data;
        return c.Bits == 8 ? data[(n * c.KBlocks) + g] : (data[(n * ((c.KBlocks + 1) / 2)) + (g / 2)] >> (g % 2 * 4)) & 15;
    }
}
