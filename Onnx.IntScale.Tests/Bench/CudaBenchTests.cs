using System.Runtime.InteropServices;
using Onnx.IntScale.Bench;

namespace Onnx.IntScale.Tests;

/// <summary><c>bench cuda</c> and <c>bench cuda-model</c>, on the CPU in place of the GPU: all but the times is the same there.</summary>
public sealed class CudaBenchTests
{
    [Fact]
    public void Run_TwoShapes_GivesARowForEachOperatorAndM()
    {
        var options = new CudaBenchOptions(
            [new(192, 40, 4, 64), new(256, 96, 4, 32)], [1, 5], CudaOperator.All, Sets: 3, Repeats: 2, SecondsPerRow: 0.001, TimeSpan.FromMilliseconds(1), short.MaxValue, Graphs: true, Roofline.Default, Cuda: false);
        var (runUs, rows) = CudaBench.Run(options, _ => { });
        Assert.True(runUs > 0);
        // All but the one that needs a Hopper GPU.
        Assert.Equal(2 * 2 * (CudaOperator.All.Count - 1), rows.Count);
        Assert.All(rows, r => Assert.True(r.Us > 0 && r.Ratio > 0 && r.Nodes == 6));
        // One of ONNX Runtime's is the best of each line-up, and is what it is compared with.
        Assert.Equal(4, rows.Count(r => r.Best));
        Assert.All(rows.Where(r => r.Best), r => Assert.Equal(1, r.Ratio));
        Assert.DoesNotContain(rows, r => r.Best && r.Operator == CudaOperator.Ours);
    }

    [Theory]
    [InlineData(4096, 4096, 25, 64)]
    [InlineData(14336, 4096, 24, 24)] // 2.8 GB in float16
    [InlineData(4096, 128256, 5, 5)] // of 1.05 GB each
    [InlineData(65536, 65536, 1, 1)]
    [InlineData(64, 64, 64, 64)]
    public void SetsFor_IsAtLeast24WithinMemory(int k, int n, int least, int most) =>
        Assert.InRange(CudaBench.SetsFor(new(k, n, 4, 128)), least, most);

    [Fact]
    public void Check_WeightsOfAnotherSeed_AreFound()
    {
        using var folder = new TempFolder();
        using var host = new CudaHost(cuda: false, graphs: false);
        var shape = new MatMulShape(128, 64, 4, 32);
        WeightSet[] right = [RandomCodes.Draw(shape, 1, 0.1)], wrong = [RandomCodes.Draw(shape, 2, 0.1)];
        var operators = CudaOperator.All.Where(o => o.Name is CudaOperator.Reference or CudaOperator.Ours).ToList();
        foreach (var op in operators) NodesModel.Write(folder[op.FileName], op, op.Form == WeightForm.Float ? right : wrong, repeats: 2);
        var sessions = operators.Select(o => new NodeSession(host, o, folder[o.FileName], repeats: 2)).ToList();
        using var values = new RandomTensors(1).Normal("A", 2 * shape.K, 1);
        using var a = host.Tensor(Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float16, 2, shape.K);
        using var y = host.Tensor(Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float16, 2, shape.N);
        var bytes = values.Slice(0, (int)values.Length);
        bytes.CopyTo(a.GetTensorMutableRawData());
        sessions.ForEach(s => s.Bind(a, [y]));
        var error = Assert.Throws<BenchException>(() => CudaCheck.Run(host, sessions, right, MemoryMarshal.Cast<byte, Half>(values.Slice(0, (int)values.Length)), [y], "here"));
        Assert.StartsWith("intscale is wrong at here, node 0", error.Message, StringComparison.Ordinal);
        sessions.ForEach(s => s.Dispose());
    }

    [Theory]
    [InlineData(128, 32)]
    [InlineData(4096, 128)]
    [InlineData(64, 16)]
    public unsafe void RandomCodes_AreCertifiedAndHaveTheDeviation(int k, int blockSize)
    {
        var set = RandomCodes.Draw(new MatMulShape(k, 200, 4, blockSize), 7, 0.02);
        fixed (byte* b = set.B)
        fixed (short* s = set.Scales)
        {
            Assert.Equal(Certificate.Compute(new WeightView(set.Shape, b, s, null, null)), set.MaxAccumulator);
            Assert.InRange(set.MaxAccumulator, 1, Certificate.DefaultLimit);
        }

        using var weights = HalfWeights.Dequantized(set);
        var values = MemoryMarshal.Cast<byte, Half>(weights.Slice(0, (int)weights.Length)).ToArray().Select(v => (double)v).ToList();
        Assert.InRange(values.Average(), -0.001, 0.001);
        Assert.InRange(Math.Sqrt(values.Average(v => v * v)), 0.019, 0.021);
    }

    [Fact]
    public void HopperCodes_AreTheSameCodesElsewhere()
    {
        Assert.Equal(Enumerable.Range(0, 32), Enumerable.Range(0, 32).Select(HopperCodes.SourceOf).Order());
        // The first word: k = 0, 8, 16, 24, then 1, 9, 17, 25.
        Assert.Equal([0, 8, 16, 24, 1, 9, 17, 25], Enumerable.Range(0, 8).Select(HopperCodes.SourceOf));
        var set = RandomCodes.Draw(new MatMulShape(128, 3, 4, 64), 1, 1);
        var reordered = HopperCodes.Of(set);
        for (var n = 0; n < 3; n++)
        {
            for (var place = 0; place < 128; place++) Assert.Equal(Code(set, n, (place & ~31) + HopperCodes.SourceOf(place & 31)), Code(reordered, n, place));
        }

        static int Code(WeightSet set, int n, int k) => (set.B[(n * set.Shape.RowBytes) + (k >> 1)] >> ((k & 1) * 4)) & 0xF;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void CudaModel_AllForms_AgreeAndAreTimed(bool packed)
    {
        using var folder = new TempFolder();
        var tiny = LlamaShape.All.Single(s => s.Name == "tiny");
        foreach (var form in Enum.GetValues<WeightForm>())
            LlamaModel.Write(Path.Combine(folder[$"{form}"], "model.onnx"), tiny, new LlamaOptions(form, RandomCodes: true, PackedQkv: packed), replace: false, _ => { });
        var options = new CudaModelOptions(
            [.. Enum.GetNames<WeightForm>().Select(f => Path.Combine(folder[f], "model.onnx"))],
            Prefill: 40, Batches: [1, 3], Past: 20, SecondsPerModel: 0.001, TimeSpan.Zero, FpAIntB: true, Graphs: true, MinAgreement: 0.8, Cuda: false);
        var (loads, rows) = CudaModelBench.Run(options, _ => { });
        Assert.Equal(["Float", "MatMulNBits4", "MatMulNBits4 fpA_intB", "IntScale4"], loads.Select(l => l.Model));
        Assert.Equal(3 * 4, rows.Count);
        Assert.All(rows, r => Assert.InRange(r.Agreement, 0.6, 1));
        Assert.Equal([40, 40, 40, 40, 1, 1, 1, 1, 3, 3, 3, 3], rows.Select(r => r.Tokens));
    }
}
