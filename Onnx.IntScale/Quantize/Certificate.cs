using System.Runtime.Intrinsics;

namespace Onnx.IntScale;

/// <summary>
/// The overflow certificate: max over n of 127 · Σ_g |scales[n,g]| · Σ_{k in g} |q[n,k] - zp[n,g]|. No activation can drive a
/// partial or final sum of that row past it, since |a8| ≤ 127; at most 2^31 - 1 means that int32 cannot overflow.
/// </summary>
public static unsafe class Certificate
{
    /// <summary>The largest certificate that a kernel accepts: 2^31 - 1.</summary>
    public const long Int32Limit = int.MaxValue;

    /// <summary>The converter's default limit, 2^27 - 1: four bits of headroom for kernels that unpack int4 as 16·q.</summary>
    public const long DefaultLimit = (1 << 27) - 1;

    /// <summary>The largest |scale| with which scale · (q - 8) fits int8 whatever the int4 code q, so that kernels may multiply codes by scales before the product.</summary>
    public const int LargestInt8Scale = 15;

    /// <summary>The certificate of a whole matrix.</summary>
    public static long Compute(in WeightView w)
    {
        var max = 0L;
        for (var n = 0; n < w.Shape.N; n++) max = Math.Max(max, OfRow(w, n));
        return max;
    }

    /// <summary>The certificate of output channel n.</summary>
    public static long OfRow(in WeightView w, int n)
    {
        var sum = 0L;
        for (var g = 0; g < w.Shape.KBlocks; g++) sum += Math.Abs((long)w.ScalesOf(n)[g]) * Magnitude(w, n, g);
        return 127 * sum;
    }

    /// <summary>Σ_{k in g, k &lt; K} |q[n,k] - zp[n,g]|; padding meets zero activations and does not count.</summary>
    private static int Magnitude(in WeightView w, int n, int g)
    {
        var block = w.Block(n, g);
        var zeroPoint = w.ZeroPoint(n, g);
        var count = Math.Min(w.Shape.BlockSize, w.Shape.K - (g * w.Shape.BlockSize));
        var sum = 0;
        var i = 0;
        if (w.Shape.Bits == 4)
        {
            // 16 bytes hold 32 codes; two differences of at most 15 share a byte, then widen to 16 bits.
            var zeros = Vector128.Create((sbyte)zeroPoint);
            var mask = Vector128.Create((byte)0xF);
            var total = Vector128<ushort>.Zero;
            for (; i <= count - 32; i += 32)
            {
                var codes = Vector128.Load(block + (i / 2));
                var even = Vector128.Abs((codes & mask).AsSByte() - zeros);
                var odd = Vector128.Abs(((codes.AsUInt16() >>> 4).AsByte() & mask).AsSByte() - zeros);
                var (low, high) = Vector128.Widen((even + odd).AsByte());
                total += low + high;
            }

            sum = Vector128.Sum(total);
        }

        for (; i < count; i++)
        {
            var q = w.Shape.Bits == 8 ? block[i] : (block[i >> 1] >> ((i & 1) * 4)) & 0xF;
            sum += Math.Abs(q - zeroPoint);
        }

        return sum;
    }
}
