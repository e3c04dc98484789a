using Microsoft.ML.OnnxRuntime;

namespace Onnx.IntScale.Tests;

/// <summary>The C# of the README, compiled and run as it stands there.</summary>
internal static class ReadmeSnippet
{
    public static void Run()
    {
        // README begin
        var report = Converter.Convert("models/classics-13m", "out/int4", new ConvertOptions { Force = true });
        Console.WriteLine($"{report.Layers.Count} layers, worst weight error {report.Layers.Max(l => l.WeightError):P1}");

        using var options = IntScaleOps.Register(new SessionOptions());
        using var session = new InferenceSession("out/int4/model.onnx", options);

        var diff = ModelDiff.Run("models/classics-13m", "out/int4", new DiffOptions("models/classics-13m/eval_tokens.npy") { Windows = 2 });
        Console.WriteLine($"perplexity {diff.Reference.Perplexity:F2} -> {diff.Converted.Perplexity:F2}, KL {diff.Kl.Mean:F4}");
        // README end
    }
}
