using Onnx.IntScale.Bench;

namespace Onnx.IntScale.Tests;

/// <summary><c>bench cuda-check --model</c>: on a GPU what it is for, without one the check itself, on the CPU in the GPU's place.</summary>
public sealed class CudaModelCheckTests
{
    /// <summary>
    /// A difference of one float16 ulp in what another operator gives moves some int8 codes of the activations by one, and with 43 layers
    /// of that a few tokens in a hundred change places at the top. Nothing of it is this operator's, as the other comparison shows.
    /// </summary>
    private const double Top1AmongOtherRoundings = 0.9;

    [CudaSessionFact]
    public void Classics_OnCuda_HasTheSpecificationsBits()
    {
        using var folder = new TempFolder();
        Converter.Convert(Repo.At("models/classics-13m"), folder["out"], new ConvertOptions());
        var report = ModelCheck.Run(Options(folder["out"]) with { Prompt = 512, Decode = 16, Cuda = true, MinTop1 = Top1AmongOtherRoundings }, _ => { });
        Assert.True(report.Passed, string.Join(Environment.NewLine, report.Lines()));
        Assert.Equal(0, report.Wrong);
        Assert.InRange(report.Mixed.Top1, 0.99, 1);
    }

    [Fact]
    public void Classics_OnCpu_PromptAndDecoding_Pass()
    {
        using var folder = new TempFolder();
        Converter.Convert(Repo.At("models/classics-13m"), folder["out"], new ConvertOptions());
        var report = ModelCheck.Run(Options(folder["out"]), _ => { });
        Assert.True(report.Passed, string.Join(Environment.NewLine, report.Lines()));
        Assert.Equal((43, 0L), (report.Nodes.Count, report.Wrong));
        Assert.All(report.Nodes, n => Assert.True(n.Elements > 0));
        Assert.Equal([24, 1, 1], report.Cpu.Rows);
        Assert.Equal((0.0, 0.0, 1.0), (report.Cpu.MaxAbs, report.Mixed.Relative, report.Cpu.Top1));
    }

    [Fact]
    public void Check_NodesOfOtherWeights_AreFound()
    {
        using var folder = new TempFolder();
        var (ours, others) = (Tiny(folder, "ours", 1), Tiny(folder, "others", 5));
        var nodes = IntScaleNode.Find(ours);
        var check = new NodeCheck(others);
        using var trace = ModelTrace.Of(ours, check.Taps(nodes), Options(ours.ModelPath), cuda: false, oursOnCpu: false);
        // Without a cache there is nothing to decode after.
        Assert.Single(trace.Runs);
        Assert.All(nodes, n => Assert.Equal(0, new NodeCheck(ours).Run(n, trace.Runs).Wrong));
        Assert.All(nodes, n =>
        {
            var outcome = check.Run(n, trace.Runs);
            Assert.InRange(outcome.Wrong, outcome.Elements / 2, outcome.Elements);
            Assert.StartsWith("M=24: Y[0,", outcome.Fault, StringComparison.Ordinal);
        });

        Assert.Null(trace.Placement.Fault(CudaProvider.Cpu, nodes.Count));
        Assert.Equal("of 2 nodes 2 ran on CPUExecutionProvider, all should on CUDAExecutionProvider", trace.Placement.Fault(CudaProvider.Name, nodes.Count));
        Assert.NotNull(trace.Placement.Fault(CudaProvider.Cpu, nodes.Count + 1));
    }

    [Fact]
    public void Report_EachFault_FailsIt()
    {
        var same = new LogitsDiff("itself", [3], 0, 0, 0, 0, 0, 1);
        var good = new ModelCheckReport("m", "p", null, [new("n", 9, 0, 0, null)], same, same, 0.99);
        Assert.True(good.Passed);
        Assert.False((good with { Misplaced = "elsewhere" }).Passed);
        Assert.False((good with { Nodes = [new("n", 9, 1, 0, "differs")] }).Passed);
        Assert.False((good with { Nodes = [new("n", 9, 0, 1, null)] }).Passed);
        Assert.False((good with { Cpu = same with { Top1 = 0.98 } }).Passed);
        Assert.False((good with { Mixed = same with { Top1 = double.NaN } }).Passed);
        Assert.False((good with { Cpu = same with { NotFinite = 1 } }).Passed);
    }

    [Theory]
    [InlineData("0.99", 0)]
    [InlineData("1.01", 1)]
    public void Command_EndsWithOneWhereItFails(string minTop1, int code)
    {
        using var folder = new TempFolder();
        var model = Tiny(folder, "tiny", 1).ModelPath;
        NpyFile.WriteTokens(folder["tokens.npy"], TinyLanguageModel.Tokens(30));
        Assert.Equal(code, CheckCommand.Create().Parse(["--model", model, "--tokens", folder["tokens.npy"], "--prompt", "20", "--ep", "cpu", "--min-top1", minTop1]).Invoke());
    }

    [Fact]
    public void Run_NothingToCheck_IsAnError()
    {
        using var folder = new TempFolder();
        var source = TinyLanguageModel.Create().Save(folder["source"]);
        Assert.Contains("convert it first", Assert.Throws<BenchException>(() => ModelCheck.Run(Options(source), _ => { })).Message, StringComparison.Ordinal);
        var model = Tiny(folder, "tiny", 1).ModelPath;
        NpyFile.WriteTokens(folder["few.npy"], TinyLanguageModel.Tokens(5));
        NpyFile.WriteTokens(folder["wrong.npy"], [.. TinyLanguageModel.Tokens(25), TinyLanguageModel.Vocabulary]);
        Assert.Contains("holds 5 tokens", Assert.Throws<BenchException>(() => ModelCheck.Run(Options(model) with { Tokens = folder["few.npy"] }, _ => { })).Message, StringComparison.Ordinal);
        Assert.Contains("position 25", Assert.Throws<BenchException>(() => ModelCheck.Run(Options(model) with { Tokens = folder["wrong.npy"] }, _ => { })).Message, StringComparison.Ordinal);
    }

    private static ModelCheckOptions Options(string model) => new(model, Tokens: null, Prompt: 24, Decode: 2, Seed: 3, MinTop1: 0.99, Device: 0, Cuda: false);

    private static ModelFile Tiny(TempFolder folder, string name, int seed)
    {
        TinyLanguageModel.Create(seed: seed).Save(folder[name + "-source"]);
        Converter.Convert(folder[name + "-source"], folder[name], new ConvertOptions());
        return ModelFile.Load(folder[name]);
    }
}
