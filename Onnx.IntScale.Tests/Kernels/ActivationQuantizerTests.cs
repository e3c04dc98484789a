namespace Onnx.IntScale.Tests;

public sealed unsafe class ActivationQuantizerTests
{
    [Fact]
    public void QuantizeRow_RandomAndOddRows_EqualsScalar() => KernelCase.ForAll(800, c =>
    {
        using var memory = new KernelMemory(c with { N = 1 });
        foreach (var kernel in CpuKernels.Available)
        {
            var scratch = memory.Use(kernel);
            var rows = memory.Job.Plan.ScratchRows(c.M);
            for (var m = 0; m < rows; m++) ActivationQuantizer.QuantizeRowScalar(memory.Job, m);
            var expected = scratch.ToArray();
            memory.Use(kernel);
            for (var t = 0; t < IntScaleMatMul.QuantizeTasks(memory.Job); t++) IntScaleMatMul.Quantize(memory.Job, t);
            Assert.True(scratch.SequenceEqual(expected), $"{kernel.Name}: {c}");
        }
    });

    [Theory]
    [InlineData(127f, 0.5f, 0)]
    [InlineData(127f, 1.5f, 2)]
    [InlineData(127f, 2.5f, 2)]
    [InlineData(127f, -2.5f, -2)]
    [InlineData(127f, -126.5f, -126)]
    public void QuantizeRow_HalfWay_RoundsToEven(float max, float value, int expected)
    {
        using var memory = new KernelMemory(new KernelCase(1, 2, 1, 8, 16, false, false, ElementType.Float, Flavor.Plain, 1));
        ((float*)memory.Job.A)[0] = max;
        ((float*)memory.Job.A)[1] = value;
        ActivationQuantizer.Quantize(memory.Job, 0, 1);
        Assert.Equal(127, memory.Job.A8[0]);
        Assert.Equal(expected, memory.Job.A8[1]);
        Assert.Equal(127 + expected, (int)memory.Job.BlockSums[0]);
        Assert.Equal(1f, memory.Job.AScales[0]);
    }

    [Fact]
    public void QuantizeRow_RandomFloats_RoundsTheProductFirst()
    {
        // Some values round differently when the product is not rounded to float32 first; the row must contain one for the test to mean anything.
        var random = new Random(4);
        var fusedDiffers = 0;
        using var memory = new KernelMemory(new KernelCase(1, 4096, 1, 8, 256, false, false, ElementType.Float, Flavor.Plain, 1));
        var a = (float*)memory.Job.A;
        for (var row = 0; row < 400; row++)
        {
            for (var k = 0; k < 4096; k++) a[k] = (float)(random.NextDouble() - 0.5);
            ActivationQuantizer.Quantize(memory.Job, 0, 1);
            var max = 0f;
            for (var k = 0; k < 4096; k++) max = MathF.Max(max, MathF.Abs(a[k]));
            var inverse = 127f / max;
            for (var k = 0; k < 4096; k++)
            {
                Assert.Equal((int)MathF.Round(a[k] * inverse), memory.Job.A8[k]);
                if ((int)Math.Round((double)a[k] * inverse) != memory.Job.A8[k]) fusedDiffers++;
            }
        }

        Assert.True(fusedDiffers > 0);
    }
}
