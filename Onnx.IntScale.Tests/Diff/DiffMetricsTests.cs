namespace Onnx.IntScale.Tests;

/// <summary>The vectorized maths against plain double loops.</summary>
public sealed class DiffMetricsTests
{
    public static TheoryData<int, double, double> Cases => new()
    {
        { 1, 1, 0 }, { 2, 5, 0 }, { 7, 5, 0 }, { 8, 5, 0 }, { 9, 5, -300 }, { 31, 20, 1000 }, { 4099, 4, 0 }, { 4096, 30, -100 },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Compare_EqualsNaiveDoubles(int vocabulary, double spread, double offset)
    {
        var random = new Random(vocabulary);
        var r = Enumerable.Range(0, vocabulary).Select(_ => (float)(offset + (spread * random.NextDouble()))).ToArray();
        var c = r.Select(x => (float)(x + random.NextDouble() - 0.3)).ToArray();
        var target = random.Next(vocabulary);
        var (logP, logQ) = (LogSoftmax(r), LogSoftmax(c));
        var d = r.Zip(c, (x, y) => Math.Abs((double)x - y)).ToArray();

        var row = DiffMetrics.Compare(r, c, target);

        // exp is float32: a few 1e-7 of the differences that it weighs.
        Close(logP.Zip(logQ, (p, q) => Math.Exp(p) * (p - q)).Sum(), row.Kl, 1e-6);
        Close(-logP[target], row.ReferenceNll, 1e-6);
        Close(-logQ[target], row.ConvertedNll, 1e-6);
        Assert.Equal(Array.IndexOf(r, r.Max()) == Array.IndexOf(c, c.Max()), row.SameTop);
        Assert.Equal(d.Max(), row.MaxAbs);
        Close(d.Sum(), row.SumAbs, 1e-12);
        Close(r.Zip(c, (x, y) => (double)x * y).Sum(), row.Dot, 1e-12);
        Close(r.Sum(x => (double)x * x), row.ReferenceSquares, 1e-12);
        Close(c.Sum(x => (double)x * x), row.ConvertedSquares, 1e-12);
    }

    [Fact]
    public void Compare_WithItself_IsExactlyZero()
    {
        var logits = Enumerable.Range(0, 1001).Select(i => MathF.Sin(i) * 10).ToArray();
        var row = DiffMetrics.Compare(logits, logits, 5);
        Assert.Equal((0, 0, 0, true), (row.Kl, row.MaxAbs, row.SumAbs, row.SameTop));
        Assert.Equal(row.ReferenceNll, row.ConvertedNll);
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void Compare_NonFiniteLogits_GiveNoDivergence(float bad)
    {
        float[] good = [1, 2, 3, 4, 5, 6, 7, 8, 9], other = [1, 2, 3, 4, 5, 6, 7, 8, bad];
        Assert.False(double.IsFinite(DiffMetrics.Compare(good, other).Kl));
        Assert.False(double.IsFinite(DiffMetrics.Compare(other, good).Kl));
    }

    [Theory]
    [InlineData(3)]
    [InlineData(8)]
    [InlineData(1003)]
    public void Error_EqualsNaiveDoubles(int length)
    {
        var random = new Random(length);
        var y = Enumerable.Range(0, length).Select(_ => (float)random.NextDouble()).ToArray();
        var z = y.Select(v => v + (0.01f * (float)random.NextDouble())).ToArray();
        var sum = DiffMetrics.Error(y, z);
        Close(y.Sum(v => (double)v * v), sum.Signal, 1e-12);
        Close(y.Zip(z, (a, b) => ((double)b - a) * ((double)b - a)).Sum(), sum.Error, 1e-12);
    }

    [Fact]
    public void ErrorSum_AddsSquares_NotDecibels()
    {
        var sum = new ErrorSum(100, 1) + new ErrorSum(300, 3) + new ErrorSum(0, 0);
        Assert.Equal(0.1, sum.Relative, 12);
        Assert.Equal(20, sum.SqnrDb, 9);
        Assert.Equal(double.PositiveInfinity, new ErrorSum(1, 0).SqnrDb);
        Assert.Equal(0, new ErrorSum(0, 0).Relative);
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(0.5, 2.5)]
    [InlineData(0.99, 3.97)]
    [InlineData(1, 4)]
    public void Quantile_IsNumpys(double q, double expected) => Assert.Equal(expected, DiffMetrics.Quantile([1, 2, 3, 4], q), 12);

    [Fact]
    public void Totals_LeavePositionsWithoutTargetOutOfPerplexityOnly()
    {
        var totals = new DiffTotals();
        totals.Add(new RowMetrics(0.1, Math.Log(4), Math.Log(9), true, 1, 2, 3, 4, 4));
        totals.Add(new RowMetrics(0.2, Math.Log(16), Math.Log(4), false, 2, 4, 3, 5, 5));
        totals.Add(new RowMetrics(0.6, double.NaN, double.NaN, false, 0, 0, 0, 0, 0));
        Assert.Equal(8, totals.ReferencePerplexity, 9);
        Assert.Equal(6, totals.ConvertedPerplexity, 9);
        Assert.Equal((3, 1 / 3.0), (totals.Positions, totals.Top1Agreement));
        Assert.Equal(0.3, totals.MeanKl, 12);
        Assert.Equal(0.2, totals.Kl().Median, 12);
        Assert.Equal(0.6, totals.Kl().Max);
        Assert.Equal(new LogitsSummary(2, 6.0 / (3 * 10), 6.0 / 9), totals.Logits(10));
    }

    private static double[] LogSoftmax(float[] x)
    {
        var max = x.Max();
        var log = max + Math.Log(x.Sum(v => Math.Exp((double)v - max)));
        return [.. x.Select(v => v - log)];
    }

    private static void Close(double expected, double actual, double tolerance) =>
        Assert.True(Math.Abs(expected - actual) <= tolerance * Math.Max(1, Math.Abs(expected)), $"expected {expected:R}, got {actual:R}");
}
