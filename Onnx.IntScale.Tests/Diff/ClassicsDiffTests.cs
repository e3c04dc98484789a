namespace Onnx.IntScale.Tests;

/// <summary>The embedded example model: a real one, in the form of ONNX Runtime GenAI, with a key/value cache.</summary>
public sealed class ClassicsDiffTests
{
    private static string Folder
    {
        get
        {
            for (var folder = AppContext.BaseDirectory; folder != null; folder = Path.GetDirectoryName(folder))
            {
                if (Directory.Exists(Path.Combine(folder, "models", "classics-13m"))) return Path.Combine(folder, "models", "classics-13m");
            }

            throw new DirectoryNotFoundException("models/classics-13m is part of the repository");
        }
    }

    private static DiffOptions Tokens(int windows) => new(Path.Combine(Folder, "eval_tokens.npy")) { Windows = windows };

    /// <summary>Whoever makes the token file anew measures the perplexity anew: intscale diff MODEL MODEL --windows 2.</summary>
    [Fact]
    public void HasTheKnownPerplexity_AndLosesAsMuchAsInt4WeightsCost()
    {
        using var folder = new TempFolder();
        Converter.Convert(Folder, folder["out"], new ConvertOptions());
        var report = ModelDiff.Run(Folder, folder["out"], Tokens(2) with { LayerWindows = 1 });
        Assert.InRange(report.Reference.Perplexity / 16.4546, 0.99, 1.01);
        Assert.InRange(report.PerplexityRatio, 1.0, 1.09);
        Assert.InRange(report.Kl.Mean, 0.02, 0.12);
        Assert.InRange(report.Top1Agreement, 0.75, 0.95);
        Assert.Equal(43, report.Layers.Count);
        // Query, key and value of layer 0 run on the reference's own activations: our kernels must give the operator's bits.
        Assert.All(report.Layers.Take(3), l => Assert.Equal(l.LocalRelativeError, l.AccumulatedRelativeError));
        Assert.All(report.Layers, l => Assert.InRange(l.LocalSqnrDb!.Value, 12, 30));
        Assert.All(report.Layers.Skip(3), l => Assert.True(l.AccumulatedSqnrDb < l.LocalSqnrDb));
    }

    /// <summary>
    /// Each token drawn with the key/value cache is the one drawn after a run of all tokens before it. The two runs round differently,
    /// so that a draw that falls on the border of two tokens may differ, once in about a thousand.
    /// </summary>
    [Fact]
    public void Sample_WithTheCache_DrawsWhatAFullRunWould()
    {
        var tokens = TokenSampler.Sample(Folder, new SampleOptions { Count = 40, WindowLength = 20, Seed = 5 });
        using var model = LanguageModel.Open(ModelFile.Load(Folder));
        Assert.NotEmpty(model.Cache);
        var random = new Random(5);
        Assert.Equal(random.Next(model.Vocabulary), tokens[0]);
        var logits = new float[model.Vocabulary];
        var same = 0;
        for (var i = 1; i < tokens.Length; i++)
        {
            // A window starts from an empty cache, but its first token continues the window before it.
            using var values = model.Run(tokens.AsSpan((i - 1) / 20 * 20, ((i - 1) % 20) + 1), [model.Logits]);
            TensorRows.Of(values[0], "logits").Load((i - 1) % 20, logits);
            if (TokenSampler.Draw(logits, random.NextDouble()) == tokens[i]) same++;
        }

        Assert.InRange(same, tokens.Length - 3, tokens.Length - 1);
    }
}
