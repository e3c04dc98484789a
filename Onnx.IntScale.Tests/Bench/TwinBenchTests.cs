using Onnx.IntScale.Bench;

namespace Onnx.IntScale.Tests;

public sealed class TwinBenchTests
{
    [Theory]
    [InlineData(16)]
    [InlineData(32)]
    [InlineData(128)]
    public void Run_OddShape_TwinComputesTheSame(int blockSize)
    {
        var shape = new MatMulShape(300, 70, 4, blockSize);
        if (!VnniPanelKernel.IsSupported)
        {
            Assert.Contains("AVX512-VNNI", Assert.Throws<BenchException>(() => TwinBench.Run(shape, 20, 0.001)).Message, StringComparison.Ordinal);
            return;
        }

        // Throws where the two disagree.
        var row = TwinBench.Run(shape, 20, 0.001);
        Assert.True(row is { IntegerUs: > 0, FloatUs: > 0, Ratio: > 0 });
    }
}
