using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Onnx.IntScale;

/// <summary>
/// The float scale of one block of weights: w ≈ s · c with codes c in [-2^(bits-1), 2^(bits-1) - 1]. A scale may be negative:
/// the code range reaches one further down than up, and a negative scale lets the block's positive extreme use it.
/// </summary>
public static class BlockScale
{
    /// <summary>Clip search: how far the grid goes, as the code (over 2^(bits-1)) that the block's extreme would need; 1 is round to nearest.</summary>
    private const float GridStart = 0.80f;
    private const float GridEnd = 1.80f;
    private const int GridSteps = 40;

    /// <summary>Round to nearest: the signed extreme maps to -2^(bits-1). 0 for a block of zeros.</summary>
    public static float Rtn(ReadOnlySpan<float> block, int bits) => Extreme(block) / -(1 << (bits - 1));

    /// <summary>
    /// The scale of least squared error: every clip of a grid in both signs, then the least-squares scale for the best one's codes,
    /// twice. Never worse than <see cref="Rtn"/>.
    /// </summary>
    public static float Mse(ReadOnlySpan<float> block, int bits)
    {
        var best = Rtn(block, bits);
        if (best == 0) return 0;
        var bestError = Error(block, best, bits, out _);
        var full = MathF.Abs(best);
        for (var i = 0; i <= GridSteps; i++)
        {
            var s = full / (GridStart + ((GridEnd - GridStart) * i / GridSteps));
            Try(block, bits, s, ref best, ref bestError);
            Try(block, bits, -s, ref best, ref bestError);
        }

        for (var round = 0; round < 2; round++)
        {
            Error(block, best, bits, out var leastSquares);
            if (leastSquares == 0 || !float.IsFinite(leastSquares)) break;
            Try(block, bits, leastSquares, ref best, ref bestError);
        }

        return best;
    }

    /// <summary>Codes of a block for a given scale, clipped to the range; 0 where the scale is 0.</summary>
    public static void Codes(ReadOnlySpan<float> block, float scale, int bits, Span<sbyte> codes)
    {
        var (low, high) = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1);
        var inverse = Inverse(scale);
        for (var i = 0; i < block.Length; i++)
            codes[i] = (sbyte)Math.Clamp(MathF.Round(Math.Clamp(block[i] * inverse, low, high)), low, high);
    }

    /// <summary>Σ (w - s·c)² for the codes of a given scale.</summary>
    public static float Error(ReadOnlySpan<float> block, float scale, int bits) => Error(block, scale, bits, out _);

    /// <summary>1 / scale, 0 where that is no finite number.</summary>
    private static float Inverse(float scale) => float.IsFinite(1 / scale) ? 1 / scale : 0;

    private static float Extreme(ReadOnlySpan<float> block)
    {
        var extreme = 0f;
        foreach (var w in block)
        {
            if (MathF.Abs(w) > MathF.Abs(extreme)) extreme = w;
        }

        return extreme;
    }

    private static void Try(ReadOnlySpan<float> block, int bits, float scale, ref float best, ref float bestError)
    {
        var error = Error(block, scale, bits, out _);
        if (error >= bestError) return;
        (best, bestError) = (scale, error);
    }

    /// <summary>Σ (w - s·c)², and the scale that would be best for those codes: Σ w·c / Σ c².</summary>
    private static float Error(ReadOnlySpan<float> block, float scale, int bits, out float leastSquares)
    {
        var (low, high) = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1);
        var inverse = Inverse(scale);
        ref var w = ref MemoryMarshal.GetReference(block);
        var (error, wc, cc) = (Vector256<float>.Zero, Vector256<float>.Zero, Vector256<float>.Zero);
        var i = 0;
        for (; i <= block.Length - 8; i += 8)
        {
            var x = Vector256.LoadUnsafe(ref w, (nuint)i);
            var c = Round(Vector256.Min(Vector256.Max(x * inverse, Vector256.Create((float)low)), Vector256.Create((float)high)));
            var d = x - (c * scale);
            error += d * d;
            wc += x * c;
            cc += c * c;
        }

        var (sumError, sumWc, sumCc) = (Vector256.Sum(error), Vector256.Sum(wc), Vector256.Sum(cc));
        for (; i < block.Length; i++)
        {
            var c = MathF.Round(Math.Clamp(block[i] * inverse, low, high));
            var d = block[i] - (c * scale);
            sumError += d * d;
            sumWc += block[i] * c;
            sumCc += c * c;
        }

        leastSquares = sumCc == 0 ? 0 : sumWc / sumCc;
        return sumError;
    }

    /// <summary>Round half to even for |x| below 2^22, as MathF.Round: the sum's low mantissa bits hold the integer.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Round(Vector256<float> x)
    {
        var magic = Vector256.Create(12582912f);
        return (x + magic) - magic;
    }
}
