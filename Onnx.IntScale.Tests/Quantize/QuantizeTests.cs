using FsCheck;
using FsCheck.Fluent;

namespace Onnx.IntScale.Tests;

public sealed class QuantizeTests
{
    private static readonly Config Many = Config.QuickThrowOnFailure.WithMaxTest(300).WithReplay(99, 3);

    [Fact]
    public void Mse_RandomBlocks_NeverWorseThanRtnAndUsuallyBetter()
    {
        var better = 0;
        for (var seed = 0; seed < 200; seed++)
        {
            var block = TestWeights.Normal(128, 1, seed);
            var (mse, rtn) = (ErrorOf(block, BlockScale.Mse(block, 4)), ErrorOf(block, BlockScale.Rtn(block, 4)));
            Assert.True(mse <= rtn * 1.000001, $"seed {seed}: {mse} > {rtn}");
            if (mse < 0.95 * rtn) better++;
        }

        Assert.True(better > 100, $"clip search helped only {better} of 200 blocks");
    }

    [Fact]
    public void Rtn_SignedExtreme_MapsToTheLowestCode()
    {
        float[] block = [0.1f, 0.8f, -0.3f, 0];
        var scale = BlockScale.Rtn(block, 4);
        Assert.Equal(-0.1f, scale, 6);
        var codes = new sbyte[4];
        BlockScale.Codes(block, scale, 4, codes);
        Assert.Equal([-1, -8, 3, 0], codes);
    }

    [Fact]
    public void LargestUnits_RandomChannels_IsTheLargestThatPasses() => Prop.ForAll(
        (from blocks in Gen.Choose(1, 40) from seed in Gen.Choose(0, 1 << 30) from limit in Gen.Choose(200_000, int.MaxValue) select (blocks, seed, limit)).ToArbitrary(),
        c =>
        {
            var random = new Random(c.seed);
            var s = Enumerable.Range(0, c.blocks).Select(_ => (float)(random.NextDouble() - 0.5)).ToArray();
            var magnitudes = Enumerable.Range(0, c.blocks).Select(_ => random.Next(1, 1024)).ToArray();
            var units = IntegerScale.LargestUnits(s, magnitudes, c.limit);
            Assert.True(Bound(units) <= c.limit || units == 0);
            if (units < short.MaxValue) Assert.True(Bound(units + 1) > c.limit, $"{units} is not the largest");

            long Bound(int u)
            {
                var max = s.Max(MathF.Abs);
                return 127 * s.Zip(magnitudes, (x, q) => Math.Max(1, (long)Math.Round(Math.Abs(x) * ((double)u / max))) * q).Sum();
            }
        }).Check(Many);

    [Fact]
    public void Quantize_RandomMatrices_CertificateHoldsAndIsTight() => Prop.ForAll(
        (from k in Gen.Choose(1, 500)
         from n in Gen.Choose(1, 40)
         from block in Gen.Elements(16, 32, 64, 128, 256)
         from bits in Gen.Elements(4, 8)
         from method in Gen.Elements(ScaleMethod.Mse, ScaleMethod.Rtn)
         from limit in Gen.Elements(1L << 25, Certificate.DefaultLimit, Certificate.Int32Limit)
         select (k, n, block, bits, method, limit)).ToArbitrary(),
        c =>
        {
            var w = TestWeights.Normal(c.k, c.n, c.k + c.n);
            var q = WeightQuantizer.Quantize(TestWeights.Matrix(w, c.k, c.n), new QuantizeOptions { BlockSize = c.block, Bits = c.bits, Method = c.method, MaxAccumulator = c.limit });
            Assert.InRange(q.Summary.MaxAccumulator, 1, c.limit);
            Assert.Equal(q.Summary.MaxAccumulator, PlainCertificate(q));
            Assert.Equal(TestWeights.RelativeError(w, TestWeights.Dequantize(q)), q.Summary.Error, 9);
            // Enough units, or int16 reached: the limit is used, not just kept.
            Assert.True(q.Summary.MaxAccumulator > c.limit * 0.9 || q.Scales.Max(s => Math.Abs((int)s)) > 30000, $"{c}: {q.Summary.MaxAccumulator} wastes the limit");
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(120).WithReplay(5, 9));

    [Theory]
    [InlineData(ElementType.Float, false)]
    [InlineData(ElementType.Float16, true)]
    [InlineData(ElementType.BFloat16, false)]
    [InlineData(ElementType.Float, true)]
    public void Quantize_StoredEitherWay_SameTensors(ElementType type, bool transposed)
    {
        var w = TestWeights.Normal(200, 37, 8).Select(x => (float)(Half)x).Select(x => Elements.FromBFloat16(Elements.ToBFloat16(x))).ToArray();
        var a = WeightQuantizer.Quantize(TestWeights.Matrix(w, 200, 37), new QuantizeOptions());
        var b = WeightQuantizer.Quantize(TestWeights.Matrix(w, 200, 37, type, transposed), new QuantizeOptions());
        Assert.Equal(a.B, b.B);
        Assert.Equal(a.Scales, b.Scales);
        Assert.Equal(a.ChannelScales, b.ChannelScales);
        Assert.Equal(a.Summary, b.Summary);
    }

    [Fact]
    public void Quantize_IntegerScale_CostsNextToNothing()
    {
        // Against float scales: the same codes with s itself. Re-rounding hides what the integers lose.
        var w = TestWeights.Normal(2048, 32, 2);
        var q = WeightQuantizer.Quantize(TestWeights.Matrix(w, 2048, 32), new QuantizeOptions());
        double error = 0, total = 0;
        for (var n = 0; n < 32; n++)
        {
            for (var g = 0; g < 16; g++)
            {
                var block = Enumerable.Range(g * 128, 128).Select(k => w[(k * 32) + n]).ToArray();
                error += ErrorOf(block, BlockScale.Mse(block, 4));
                total += block.Sum(x => (double)x * x);
            }
        }

        Assert.InRange(q.Summary.Error / Math.Sqrt(error / total), 0.9, 1.003);
    }

    [Fact]
    public void Quantize_GivenAmplifier_ServesTheWholeMatrix()
    {
        var q = WeightQuantizer.Quantize(TestWeights.Matrix(TestWeights.Normal(256, 24, 1), 256, 24), new QuantizeOptions { Amplifier = Amplifier.Parse("1024") });
        Assert.Equal(1024, q.Summary.Amplifier);
        Assert.All(q.ChannelScales, s => Assert.Equal(1 / 1024f, s));
        Assert.Equal(0, q.Summary.LoweredChannels);
    }

    [Theory]
    [InlineData("auto", 15)]
    [InlineData("auto", 1)]
    [InlineData("4096", 15)]
    public void Quantize_LargestScale_IsNotPassed(string amplifier, int largest)
    {
        var w = TestWeights.Normal(512, 24, 1);
        for (var k = 0; k < 128; k++) w[(k * 24) + 3] *= 100;
        var q = WeightQuantizer.Quantize(TestWeights.Matrix(w, 512, 24), new QuantizeOptions { Amplifier = Amplifier.Parse(amplifier), LargestScale = largest });
        var scales = q.Scales.Select(s => Math.Abs((int)s)).ToList();
        Assert.Equal(1, scales.Min());
        Assert.InRange(scales.Max(), (largest + 1) / 2, largest);
    }

    [Theory]
    [InlineData(15, 32, 0.98)]
    [InlineData(15, 128, 0.995)]
    [InlineData(3, 64, 0.93)]
    public void Quantize_FewScales_ErrorIsLessThanWhereTheyAreRounded(int largest, int blockSize, double most)
    {
        const int K = 2048;
        const int N = 8;
        var shape = new MatMulShape(K, N, 4, blockSize);
        var normal = TestWeights.Normal(K, N, 3);
        var w = TestWeights.Matrix(normal, K, N);
        var all = WeightQuantizer.Quantize(w, new QuantizeOptions { BlockSize = blockSize });
        var few = WeightQuantizer.Quantize(w, new QuantizeOptions { BlockSize = blockSize, LargestScale = largest });
        Assert.InRange(few.Summary.Error, all.Summary.Error * 0.999, Rounded() * most);

        // The error where float scales are but rounded, and codes rounded again against the result.
        double Rounded()
        {
            var (error, square) = (0.0, 0.0);
            var column = new float[shape.PaddedK];
            for (var n = 0; n < N; n++)
            {
                for (var k = 0; k < K; k++) square += Math.Pow(column[k] = normal[(k * N) + n], 2);
                var s = new float[shape.KBlocks];
                ChannelQuantizer.FloatScales(column, shape, ScaleMethod.Mse, s);
                var unit = IntegerScale.MaxMagnitude(s) / largest;
                for (var g = 0; g < s.Length; g++) error += BlockScale.Error(column.AsSpan(g * blockSize, blockSize), MathF.CopySign(Math.Max(1, MathF.Round(MathF.Abs(s[g]) / unit)) * unit, s[g]), 4);
            }

            return Math.Sqrt(error / square);
        }
    }

    [Theory]
    [InlineData(1e30f)]
    [InlineData(1e-30f)]
    public void Quantize_FewScales_OfHugeAndTinyWeights_AreThoseOfOthers(float times)
    {
        var normal = TestWeights.Normal(512, 8, 2);
        // A power of two, so that nothing is rounded.
        var factor = MathF.ScaleB(1, MathF.ILogB(times));
        var options = new QuantizeOptions { Method = ScaleMethod.Rtn, LargestScale = 15 };
        var expected = WeightQuantizer.Quantize(TestWeights.Matrix(normal, 512, 8), options);
        var q = WeightQuantizer.Quantize(TestWeights.Matrix([.. normal.Select(x => x * factor)], 512, 8), options);
        Assert.Equal(expected.Scales, q.Scales);
        Assert.Equal(expected.B, q.B);
        Assert.Equal(expected.ChannelScales.Select(s => s * factor), q.ChannelScales);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(127)]
    public void Quantize_FewScales_PastTheLimit_AreFewer(int largest)
    {
        const long Limit = 1_000_000;
        var w = TestWeights.Matrix(TestWeights.Normal(4096, 2, 0), 4096, 2);
        var q = WeightQuantizer.Quantize(w, new QuantizeOptions { LargestScale = largest, MaxAccumulator = Limit });
        Assert.InRange(q.Summary.MaxAccumulator, Limit / 2, Limit);
    }

    [Fact]
    public void Quantize_AmplifierPastTheLimit_LowersThoseChannelsOnly()
    {
        var w = TestWeights.Normal(512, 8, 1);
        for (var k = 0; k < 512; k++) w[(k * 8) + 3] *= 1000;
        var q = WeightQuantizer.Quantize(TestWeights.Matrix(w, 512, 8), new QuantizeOptions { Amplifier = Amplifier.Parse("4096") });
        Assert.Equal(0, q.Summary.Amplifier);
        Assert.Equal(1, q.Summary.LoweredChannels);
        Assert.True(q.ChannelScales[3] > 1 / 4096f);
        Assert.Equal(7, q.ChannelScales.Count(s => s == 1 / 4096f));
        Assert.InRange(q.Summary.MaxAccumulator, 1, Certificate.DefaultLimit);
    }

    [Theory]
    [InlineData(0.02f, 64)]
    [InlineData(0.5f, 2)]
    [InlineData(3f, 1)]
    [InlineData(1f / 1024, 1024)]
    public void PaperAmplifier_SmallestScale_ReachesOne(float smallest, int expected) =>
        Assert.Equal(expected, IntegerScale.PaperAmplifier([5, -smallest, 0, 7]));

    [Fact]
    public void Quantize_ZeroChannel_StaysZeroAndFinite()
    {
        var w = TestWeights.Normal(64, 4, 1);
        for (var k = 0; k < 64; k++) w[(k * 4) + 2] = 0;
        var q = WeightQuantizer.Quantize(TestWeights.Matrix(w, 64, 4), new QuantizeOptions { BlockSize = 32 });
        Assert.All(q.ChannelScales, s => Assert.True(float.IsFinite(s) && s > 0));
        var d = TestWeights.Dequantize(q);
        for (var k = 0; k < 64; k++) Assert.Equal(0, d[(k * 4) + 2]);
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void Quantize_NotFinite_SaysWhere(float value)
    {
        var w = TestWeights.Normal(64, 40, 1);
        w[(17 * 40) + 35] = value;
        var e = Assert.Throws<WeightFaultException>(() => WeightQuantizer.Quantize(TestWeights.Matrix(w, 64, 40), new QuantizeOptions()));
        Assert.Contains("k=17, n=35", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Pack_Nibbles_LowFirst()
    {
        var row = new byte[2];
        CodePacking.Pack([-8, 7, 0, -1], 4, row);
        Assert.Equal([0xF0, 0x78], row);
        var codes = new sbyte[4];
        CodePacking.Unpack(row, 4, codes);
        Assert.Equal([-8, 7, 0, -1], codes);
    }

    private static double ErrorOf(float[] block, float scale)
    {
        var codes = new sbyte[block.Length];
        BlockScale.Codes(block, scale, 4, codes);
        return block.Zip(codes, (w, c) => ((double)w - ((double)c * scale)) * ((double)w - ((double)c * scale))).Sum();
    }

    private static long PlainCertificate(QuantizedWeight q)
    {
        var shape = q.Summary.Shape;
        var codes = new sbyte[shape.PaddedK];
        long max = 0;
        for (var n = 0; n < shape.N; n++)
        {
            CodePacking.Unpack(q.B.AsSpan(n * shape.RowBytes, shape.RowBytes), shape.Bits, codes);
            long sum = 0;
            for (var k = 0; k < shape.K; k++) sum += Math.Abs((long)q.Scales[(n * shape.KBlocks) + (k / shape.BlockSize)] * codes[k]);
            max = Math.Max(max, 127 * sum);
        }

        return max;
    }
}
