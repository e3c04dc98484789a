namespace Onnx.IntScale.Tests;

/// <summary>What the quantizer does at the edges: large sums, tiny weights, channels of zeros, several faults, a stop.</summary>
public sealed class QuantizeLimitsTests
{
    /// <summary>8-bit codes make sums 16 times those of 4 bits; the limit that serves int4 would leave scales of a few units.</summary>
    [Theory]
    [InlineData(14336)]
    [InlineData(65536)]
    public void EightBits_LargeK_KeepTheirPrecision(int k)
    {
        var w = TestWeights.Normal(k, 2, 3);
        var q = WeightQuantizer.Quantize(TestWeights.Matrix(w, k, 2), new QuantizeOptions { Bits = 8 });
        Assert.InRange(q.Summary.Error, 0, 0.012);
        Assert.InRange(q.Summary.MaxAccumulator, Certificate.DefaultLimit + 1, Certificate.Int32Limit);
    }

    [Theory]
    [InlineData(4, Certificate.DefaultLimit)]
    [InlineData(8, Certificate.Int32Limit)]
    public void Limit_WhereNotGiven_FollowsTheBits(int bits, long expected)
    {
        Assert.Equal(expected, new QuantizeOptions { Bits = bits }.Limit);
        Assert.Equal(1 << 20, new QuantizeOptions { Bits = bits, MaxAccumulator = 1 << 20 }.Limit);
        Assert.Null(new QuantizeOptions { Bits = bits }.Fault());
    }

    [Theory]
    [InlineData(1e-41f)]
    [InlineData(1e-45f)]
    [InlineData(1e-35f)]
    public void TinyWeights_AreRefusedWithTheReason(float size)
    {
        var w = TestWeights.Normal(64, 40, 1);
        for (var k = 0; k < 64; k++) w[(k * 40) + 7] = k % 2 == 0 ? size : -size;
        var e = Assert.Throws<WeightFaultException>(() => WeightQuantizer.Quantize(TestWeights.Matrix(w, 64, 40), new QuantizeOptions()));
        Assert.Contains("output channel 7 are too small", e.Message, StringComparison.Ordinal);
        Assert.Contains("--exclude", e.Remedy, StringComparison.Ordinal);
    }

    [Fact]
    public void AmplifierRange_LeavesChannelsOfZerosOut()
    {
        var w = TestWeights.Normal(64, 4, 1);
        var full = WeightQuantizer.Quantize(TestWeights.Matrix(w, 64, 4), new QuantizeOptions()).ChannelScales;
        for (var k = 0; k < 64; k++) w[(k * 4) + 2] = 0;
        var q = WeightQuantizer.Quantize(TestWeights.Matrix(w, 64, 4), new QuantizeOptions());
        var others = full.Where((_, n) => n != 2).ToList();
        Assert.Equal((1 / (double)others.Max(), 1 / (double)others.Min()), (q.Summary.AmplifierMin, q.Summary.AmplifierMax));

        var zeros = WeightQuantizer.Quantize(TestWeights.Matrix(new float[64 * 4], 64, 4), new QuantizeOptions()).Summary;
        Assert.Equal((1, 1, 0), (zeros.AmplifierMin, zeros.AmplifierMax, zeros.Error));
    }

    [Fact]
    public void SeveralFaults_TheFirstChannelIsNamed_WhateverTheThreads()
    {
        var w = TestWeights.Normal(64, 2000, 1);
        foreach (var n in new[] { 1999, 1500, 701, 333 }) w[(9 * 2000) + n] = float.NaN;
        for (var i = 0; i < 20; i++)
        {
            var e = Assert.Throws<WeightFaultException>(() => WeightQuantizer.Quantize(TestWeights.Matrix(w, 64, 2000), new QuantizeOptions { Method = ScaleMethod.Rtn }));
            Assert.Contains("k=9, n=333", e.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Stop_EndsInsideAMatrix()
    {
        // Seconds of clip search, were it not stopped, by a thread of its own: a timer would wait for the pool that the search keeps busy.
        var matrix = TestWeights.Matrix(TestWeights.Normal(1 << 14, 1 << 11, 1), 1 << 14, 1 << 11);
        using var cancel = new CancellationTokenSource();
        var stop = new Thread(() =>
        {
            Thread.Sleep(50);
            cancel.Cancel();
        });
        stop.Start();
        Assert.ThrowsAny<OperationCanceledException>(() => WeightQuantizer.Quantize(matrix, new QuantizeOptions(), cancel.Token));
        stop.Join();
    }

    [Fact]
    public void ParallelWork_ThrowsWhatATaskThrew()
    {
        var e = Assert.Throws<InvalidOperationException>(() => ParallelWork.Unwrap(() => Parallel.For(0, 100, i => throw new InvalidOperationException("of the task"))));
        Assert.Equal("of the task", e.Message);
        Assert.Equal(5, ParallelWork.Unwrap(() => 5));
    }
}
