using System.Text.Json;
using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Tests;

public sealed class ModelDiffTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(DataType.Float, DataType.Int64)]
    [InlineData(DataType.Float16, DataType.Int32)]
    public void SameModel_DiffersInNothing(DataType type, DataType ids)
    {
        TinyLanguageModel.Create(type, ids: ids).Save(_folder["a"]);
        var report = ModelDiff.Run(_folder["a"], _folder["a"], Tokens(64) with { WindowLength = 16 });
        Assert.Equal((64, 4, 16), (report.Tokens, report.Windows, report.WindowLength));
        Assert.Equal(new KlSummary(0, 0, 0, 0), report.Kl);
        Assert.Equal((1, 1), (report.Top1Agreement, report.PerplexityRatio));
        Assert.Equal((0, 0), (report.Logits.MaxAbsError, report.Logits.MeanAbsError));
        Assert.Empty(report.Layers);
    }

    [Fact]
    public void SameConvertedModel_HasExactLayers()
    {
        Convert(out _);
        var report = ModelDiff.Run(_folder["out"], _folder["out"], Tokens(32) with { WindowLength = 16 });
        Assert.Equal(["first", "head"], report.Layers.Select(l => l.Name));
        Assert.All(report.Layers, l => Assert.Equal((LayerDiff.MaxSqnrDb, LayerDiff.MaxSqnrDb, 0, 0), (l.LocalSqnrDb, l.AccumulatedSqnrDb, l.LocalRelativeError, l.AccumulatedRelativeError)));
    }

    [Theory]
    [InlineData(64, 63)]
    [InlineData(65, 64)]
    public void Perplexity_CountsEveryPositionThatHasANextToken(int tokens, int counted)
    {
        TinyLanguageModel.Create().Save(_folder["a"]);
        TinyLanguageModel.Create(seed: 9).Save(_folder["b"]);
        var ids = TinyLanguageModel.Tokens(tokens);
        var report = ModelDiff.Run(_folder["a"], _folder["b"], Tokens(tokens) with { WindowLength = 32 });
        Assert.Equal(64, report.Tokens);
        Assert.Equal(Perplexity(1), report.Reference.Perplexity, 0.001);
        Assert.Equal(Perplexity(9), report.Converted.Perplexity, 0.001);
        Assert.Equal(report.Converted.Perplexity / report.Reference.Perplexity, report.PerplexityRatio, 9);

        double Perplexity(int seed) => Math.Exp(Enumerable.Range(0, counted).Average(i =>
        {
            var logits = TinyLanguageModel.Logits(ids[i], seed);
            return Math.Log(logits.Sum(Math.Exp)) - logits[ids[i + 1]];
        }));
    }

    /// <summary>With only the head rewritten, what it runs on is the reference's activations: both errors must be one, to the bit.</summary>
    [Theory]
    [InlineData(DataType.Float)]
    [InlineData(DataType.Float16)]
    public void Layers_LocalIsWhatTheLayerAloneWouldDo(DataType type)
    {
        Convert(out var reference, type);
        Converter.Convert(reference, _folder["head"], new ConvertOptions { Exclude = ["first"] });
        var both = ModelDiff.Run(reference, _folder["out"], Tokens(64) with { WindowLength = 32 }).Layers;
        var head = Assert.Single(ModelDiff.Run(reference, _folder["head"], Tokens(64) with { WindowLength = 32 }).Layers);

        Assert.Equal(head.LocalRelativeError, head.AccumulatedRelativeError);
        Assert.Equal(head.LocalRelativeError, both[1].LocalRelativeError);
        Assert.Equal(both[0].LocalRelativeError, both[0].AccumulatedRelativeError);
        Assert.True(both[1].AccumulatedRelativeError > 1.1 * both[1].LocalRelativeError);
        Assert.InRange(both[0].LocalRelativeError!.Value, 0.02, 0.2);
        Assert.Equal(-20 * Math.Log10(both[0].LocalRelativeError!.Value), both[0].LocalSqnrDb!.Value, 9);
    }

    [Fact]
    public void Layers_DoNotChangeTheRest_AndFollowTheirWindows()
    {
        Convert(out var reference);
        var with = ModelDiff.Run(reference, _folder["out"], Tokens(64) with { WindowLength = 16, LayerWindows = 1 });
        var without = ModelDiff.Run(reference, _folder["out"], Tokens(64) with { WindowLength = 16, LayerWindows = 0 });
        Assert.Empty(without.Layers);
        Assert.Equal(without, with with { Layers = without.Layers });
        var firstOnly = ModelDiff.Run(reference, _folder["out"], Tokens(64) with { WindowLength = 16, Windows = 1 });
        Assert.Equal(firstOnly.Layers, with.Layers);
        Assert.Equal(with.Layers.MinBy(l => l.LocalSqnrDb), with.WorstLocal);
        Assert.Equal(with.Layers.MinBy(l => l.AccumulatedSqnrDb), with.WorstAccumulated);
    }

    [Fact]
    public void Report_DoesNotDependOnThreads()
    {
        Convert(out var reference, DataType.Float16);
        var one = ModelDiff.Run(reference, _folder["out"], Tokens(64) with { WindowLength = 32, Threads = 1 });
        Assert.Equal(one.ToJson(), ModelDiff.Run(reference, _folder["out"], Tokens(64) with { WindowLength = 32, Threads = 2 }).ToJson());
    }

    [Fact]
    public void Progress_TellsOfLoading_AndAStopEndsTheRun()
    {
        Convert(out var reference);
        var steps = new Steps();
        ModelDiff.Run(reference, _folder["out"], Tokens(32) with { WindowLength = 16 }, steps);
        Assert.Equal([$"loading {reference}", $"loading {_folder["out/model.onnx"]}", "running the first window", null, null], steps.Seen);

        using var cancel = new CancellationTokenSource();
        Assert.ThrowsAny<OperationCanceledException>(() => ModelDiff.Run(reference, _folder["out"], Tokens(32) with { WindowLength = 16 }, new Steps { Then = cancel.Cancel }, cancel.Token));
    }

    [Fact]
    public void Layer_ThatTheReferenceLacks_IsReportedAndSkipped()
    {
        Convert(out _);
        var renamed = TinyLanguageModel.Create();
        foreach (var node in renamed.Proto.Graph.Node.Where(n => n.Name is "first" or "act"))
        {
            if (node.Name == "first") node.Output[0] = "other";
            else node.Input[0] = "other";
        }

        var report = ModelDiff.Run(renamed.Save(_folder["renamed"]), _folder["out"], Tokens(32) with { WindowLength = 16 });
        Assert.Contains("no value 'h'", report.Layers[0].Note, StringComparison.Ordinal);
        Assert.Null(report.Layers[0].LocalSqnrDb);
        Assert.NotNull(report.Layers[1].LocalSqnrDb);
        Assert.Same(report.Layers[1], report.WorstLocal);
        Assert.Equal(JsonValueKind.Null, JsonDocument.Parse(report.ToJson()).RootElement.GetProperty("layers")[0].GetProperty("local_sqnr_db").ValueKind);
    }

    [Fact]
    public void Json_HasTheKeysOthersRelyOn()
    {
        Convert(out var reference);
        var json = JsonDocument.Parse(ModelDiff.Run(reference, _folder["out"], Tokens(32) with { WindowLength = 16 }).ToJson()).RootElement;
        Assert.Equal(["tokens", "windows", "window_length", "reference", "converted", "perplexity_ratio", "kl", "top1_agreement", "logits", "layers"], Keys(json));
        Assert.Equal(["path", "perplexity"], Keys(json.GetProperty("reference")));
        Assert.Equal(["path", "perplexity"], Keys(json.GetProperty("converted")));
        Assert.Equal(["mean", "median", "p99", "max"], Keys(json.GetProperty("kl")));
        Assert.Equal(["max_abs_error", "mean_abs_error", "cosine"], Keys(json.GetProperty("logits")));
        Assert.Equal(["name", "local_sqnr_db", "accumulated_sqnr_db", "local_relative_error", "accumulated_relative_error"], Keys(json.GetProperty("layers")[0]));

        static IEnumerable<string> Keys(JsonElement element) => element.EnumerateObject().Select(p => p.Name);
    }

    [Fact]
    public void Tokens_OutsideTheVocabulary_AreNamed()
    {
        TinyLanguageModel.Create().Save(_folder["a"]);
        var ids = TinyLanguageModel.Tokens(64);
        ids[35] = TinyLanguageModel.Vocabulary;
        NpyFile.WriteTokens(_folder["bad.npy"], ids);
        Refused("bad.npy: position 35: token id 40 is outside the models' vocabulary of 40", "a", "a", new DiffOptions(_folder["bad.npy"]) { WindowLength = 16 });
        ids[35] = -1;
        NpyFile.WriteTokens(_folder["bad.npy"], ids);
        Refused("token id -1", "a", "a", new DiffOptions(_folder["bad.npy"]) { WindowLength = 16 });
        ModelDiff.Run(_folder["a"], _folder["a"], new DiffOptions(_folder["bad.npy"]) { WindowLength = 16, Windows = 2 });
    }

    [Fact]
    public void Tokens_TooFew_SaysHowManyWindowsFit()
    {
        TinyLanguageModel.Create().Save(_folder["a"]);
        Refused("holds 64 tokens, enough for 4 windows of 16; 5 are asked for", "a", "a", Tokens(64) with { WindowLength = 16, Windows = 5 });
        Refused("enough for 0 windows of 512", "a", "a", Tokens(64));
    }

    [Fact]
    public void Models_OfDifferentVocabularies_AreRefused()
    {
        TinyLanguageModel.Create().Save(_folder["a"]);
        TinyLanguageModel.Create(vocabulary: 48).Save(_folder["b"]);
        Refused("its vocabulary has 48 tokens", "a", "b", Tokens(64) with { WindowLength = 16 });
    }

    [Fact]
    public void Model_WithAnUnknownInput_NamesIt()
    {
        var model = TinyLanguageModel.Create().Input("pixel_values", DataType.Float, 1, 3).Output("pixels", DataType.Float, 1, 3);
        model.Node("Identity", "copy", ["pixel_values"], ["pixels"]).Save(_folder["a"]);
        Refused("input 'pixel_values': it is not known what to feed it", "a", "a", Tokens(64) with { WindowLength = 16 });
    }

    [Fact]
    public void Model_ThatDoesNotLoad_GivesOnnxRuntimesReasonInOneLine()
    {
        TinyLanguageModel.Create().Node("NoSuchOperator", "odd", ["x"], ["y"]).Save(_folder["a"]);
        Refused("ONNX Runtime cannot load it", "a", "a", Tokens(64) with { WindowLength = 16 });
        Refused("NoSuchOperator", "a", "a", Tokens(64) with { WindowLength = 16 });
    }

    [Fact]
    public void Model_WithInfiniteLogits_IsRefused()
    {
        TinyLanguageModel.Create().Save(_folder["a"]);
        var overflowing = TinyLanguageModel.Create();
        overflowing.Proto.Graph.Node.Single(n => n.Name == "head").Output[0] = "finite";
        overflowing.Inline("zero", DataType.Float, [0], 1).Node("Div", "overflow", ["finite", "zero"], ["logits"]).Save(_folder["b"]);
        Refused("NaN or infinite", "a", "b", Tokens(64) with { WindowLength = 16 });
    }

    private DiffOptions Tokens(int count)
    {
        NpyFile.WriteTokens(_folder["tokens.npy"], TinyLanguageModel.Tokens(count));
        return new DiffOptions(_folder["tokens.npy"]);
    }

    private void Convert(out string reference, DataType type = DataType.Float)
    {
        reference = TinyLanguageModel.Create(type).Save(_folder["in"]);
        Converter.Convert(reference, _folder["out"], new ConvertOptions());
    }

    private void Refused(string reason, string reference, string converted, DiffOptions options)
    {
        var message = Assert.Throws<ModelException>(() => ModelDiff.Run(_folder[reference], _folder[converted], options)).Message;
        Assert.Contains(reason, message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', message);
    }

    private sealed class Steps : IProgress<DiffProgress>
    {
        public List<string?> Seen { get; } = [];

        public Action? Then { get; init; }

        public void Report(DiffProgress value)
        {
            Seen.Add(value.Step);
            Then?.Invoke();
        }
    }
}
