using System.Numerics.Tensors;
using System.Runtime.Intrinsics;

namespace Onnx.IntScale;

/// <summary>How two models' logits for one position compare.</summary>
/// <param name="Kl">Kullback-Leibler divergence KL(reference || converted) of their softmaxes, in nats; NaN where a logit is NaN or infinite.</param>
/// <param name="ReferenceNll">-ln p(target) of the reference, NaN without a target.</param>
/// <param name="ConvertedNll">-ln p(target) of the converted model, NaN without a target.</param>
/// <param name="SameTop">Whether both prefer the same token.</param>
/// <param name="MaxAbs">Largest |difference| of two logits.</param>
/// <param name="SumAbs">Sum of |differences|.</param>
/// <param name="Dot">Sum of products.</param>
/// <param name="ReferenceSquares">Sum of the reference's squares.</param>
/// <param name="ConvertedSquares">Sum of the converted model's squares.</param>
public readonly record struct RowMetrics(
    double Kl, double ReferenceNll, double ConvertedNll, bool SameTop, double MaxAbs, double SumAbs, double Dot, double ReferenceSquares, double ConvertedSquares);

/// <summary>A squared error and the squared signal that it is relative to; add those of several windows, then ask for the ratio.</summary>
/// <param name="Signal">Σ reference².</param>
/// <param name="Error">Σ (other - reference)².</param>
public readonly record struct ErrorSum(double Signal, double Error)
{
    /// <summary>||other - reference|| / ||reference||; 0 where both norms are 0.</summary>
    public double Relative => Error == 0 ? 0 : Math.Sqrt(Error / Signal);

    /// <summary>Signal to quantization noise ratio in dB: -20 log10 of <see cref="Relative"/>; infinite without an error.</summary>
    public double SqnrDb => -20 * Math.Log10(Relative);

    /// <summary>The sum over both.</summary>
    public static ErrorSum operator +(ErrorSum a, ErrorSum b) => new(a.Signal + b.Signal, a.Error + b.Error);
}

/// <summary>The maths of an accuracy diff. Elements are float32, sums are float64 in a fixed order.</summary>
public static class DiffMetrics
{
    /// <summary>Compares the logits of one position.</summary>
    /// <param name="reference">The reference's logits [vocabulary].</param>
    /// <param name="converted">The converted model's logits [vocabulary].</param>
    /// <param name="target">The token that follows, or -1 where it is not known.</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static RowMetrics Compare(ReadOnlySpan<float> reference, ReadOnlySpan<float> converted, int target = -1)
    {
        if (reference.Length != converted.Length || reference.IsEmpty) throw new ArgumentException("logits must be of one length, and not empty");
        var topR = TensorPrimitives.IndexOfMax(reference);
        var topC = TensorPrimitives.IndexOfMax(converted);
        var (maxR, maxC) = (reference[topR], converted[topC]);

        // Softmax against the maximum: exp never overflows. Σ e^(r-max) · (r - c) gives the KL without a second pass.
        var sums = default(Sums);
        var i = 0;
        var (offsetR, offsetC, all) = (Vector256.Create(maxR), Vector256.Create(maxC), Vector256<float>.AllBitsSet);
        for (; i <= reference.Length - Vector256<float>.Count; i += Vector256<float>.Count)
            sums.Add(Vector256.Create(reference[i..]), Vector256.Create(converted[i..]), offsetR, offsetC, all);
        if (i < reference.Length)
        {
            var mask = Vector256.LessThan(Vector256<int>.Indices, Vector256.Create(reference.Length - i)).AsSingle();
            sums.Add(Tail(reference[i..]), Tail(converted[i..]), offsetR, offsetC, mask);
        }

        var expR = Vector256.Sum(sums.ExpReference);
        var logR = maxR + Math.Log(expR);
        var logC = maxC + Math.Log(Vector256.Sum(sums.ExpConverted));
        // Math.Max would keep a NaN too; rounding can leave a tiny negative value, which a divergence never is.
        var kl = Math.Max(0, (Vector256.Sum(sums.Weighted) / expR) - logR + logC);
        return new(
            kl, target < 0 ? double.NaN : logR - reference[target], target < 0 ? double.NaN : logC - converted[target], topR == topC,
            TensorPrimitives.Max<double>([sums.MaxAbs[0], sums.MaxAbs[1], sums.MaxAbs[2], sums.MaxAbs[3]]), Vector256.Sum(sums.SumAbs),
            Vector256.Sum(sums.Dot), Vector256.Sum(sums.SquaresReference), Vector256.Sum(sums.SquaresConverted));
    }

    /// <summary>Σ reference² and Σ (other - reference)² of two vectors of one length.</summary>
    public static ErrorSum Error(ReadOnlySpan<float> reference, ReadOnlySpan<float> other)
    {
        if (reference.Length != other.Length) throw new ArgumentException("vectors must be of one length");
        var (signal, error) = (Vector256<double>.Zero, Vector256<double>.Zero);
        var i = 0;
        for (; i <= reference.Length - Vector256<float>.Count; i += Vector256<float>.Count)
        {
            var (r0, r1) = Vector256.Widen(Vector256.Create(reference[i..]));
            var (o0, o1) = Vector256.Widen(Vector256.Create(other[i..]));
            signal += (r0 * r0) + (r1 * r1);
            error += ((o0 - r0) * (o0 - r0)) + ((o1 - r1) * (o1 - r1));
        }

        var sum = new ErrorSum(Vector256.Sum(signal), Vector256.Sum(error));
        for (; i < reference.Length; i++)
        {
            var (r, d) = ((double)reference[i], (double)other[i] - reference[i]);
            sum += new ErrorSum(r * r, d * d);
        }

        return sum;
    }

    /// <summary>A quantile with linear interpolation between the two nearest values, as numpy.quantile does by default.</summary>
    /// <param name="sorted">Values in ascending order, at least one.</param>
    /// <param name="q">0..1.</param>
    public static double Quantile(ReadOnlySpan<double> sorted, double q)
    {
        var at = q * (sorted.Length - 1);
        var low = (int)at;
        var high = Math.Min(low + 1, sorted.Length - 1);
        return sorted[low] + ((at - low) * (sorted[high] - sorted[low]));
    }

    private static Vector256<float> Tail(ReadOnlySpan<float> rest)
    {
        Span<float> padded = stackalloc float[Vector256<float>.Count];
        rest.CopyTo(padded);
        return Vector256.Create<float>(padded);
    }

    /// <summary>Running sums of one row; four lanes of float64 each.</summary>
    private struct Sums
    {
        public Vector256<double> ExpReference, ExpConverted, Weighted, MaxAbs, SumAbs, Dot, SquaresReference, SquaresConverted;

        public void Add(Vector256<float> r, Vector256<float> c, Vector256<float> maxR, Vector256<float> maxC, Vector256<float> mask)
        {
            var (er0, er1) = Vector256.Widen(Vector256.Exp(r - maxR) & mask);
            var (ec0, ec1) = Vector256.Widen(Vector256.Exp(c - maxC) & mask);
            var (r0, r1) = Vector256.Widen(r);
            var (c0, c1) = Vector256.Widen(c);
            var (d0, d1) = (r0 - c0, r1 - c1);
            var (a0, a1) = (Vector256.Abs(d0), Vector256.Abs(d1));
            ExpReference += er0 + er1;
            ExpConverted += ec0 + ec1;
            Weighted += (er0 * d0) + (er1 * d1);
            MaxAbs = Vector256.Max(MaxAbs, Vector256.Max(a0, a1));
            SumAbs += a0 + a1;
            Dot += (r0 * c0) + (r1 * c1);
            SquaresReference += (r0 * r0) + (r1 * r1);
            SquaresConverted += (c0 * c0) + (c1 * c1);
        }
    }
}
