using Onnx.IntScale.Bench;

namespace Onnx.IntScale.Tests;

public sealed class TwinBenchTests
{
    [Theory]
    [InlineData(70, 16)]
    [InlineData(33, 32)]
    [InlineData(70, 128)]
    public void Run_OddShape_TwinComputesTheSame(int n, int blockSize)
    {
        var shape = new MatMulShape(300, n, 4, blockSize);
        if (!VnniPanelKernel.IsSupported)
        {
            Assert.Contains("AVX512-VNNI", Assert.Throws<BenchException>(() => TwinBench.Run(shape, 20, 0.001)).Message, StringComparison.Ordinal);
            return;
        }

        // Throws where the two disagree.
        Assert.Equal(20, TwinBench.Run(shape, 20, 0.001).M);
    }
}
