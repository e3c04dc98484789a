using System.Security.Cryptography;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Xunit.Abstractions;

namespace Onnx.IntScale.Tests;

/// <summary>The whole way on a real model: convert, load, compare.</summary>
public sealed class ClassicsTests(ITestOutputHelper output)
{
    /// <summary>Perplexity of the FP16 model on 64 windows of 512 held-out tokens, as models/classics-13m/README.md states it.</summary>
    private const double Fp16Perplexity = 27.345;

    [SharedFact]
    public void Convert_GenAiForm_CostsUnderSevenPercentPerplexity()
    {
        using var folder = new TempFolder();
        var report = Converter.Convert(Repo.At("models/classics-13m"), folder["out"], new ConvertOptions());
        Assert.Equal(43, report.Layers.Count);
        Assert.All(Verifier.Verify(folder["out"]), c => Assert.Null(c.Fault));
        var diff = ModelDiff.Run(Repo.At("models/classics-13m"), folder["out"], new DiffOptions(SharedFactAttribute.Tokens) { Windows = 64, LayerWindows = 0 });
        Assert.InRange(diff.Reference.Perplexity / Fp16Perplexity, 0.999, 1.001);
        Assert.InRange(diff.PerplexityRatio, 1, 1.07);
        Assert.InRange(diff.Top1Agreement, 0.79, 1);
    }

    /// <summary>
    /// The FP16 model with its weights replaced by what int4 with float scales stands for, against the same with integer scales:
    /// both run as plain float MatMuls, so that nothing but the scales differs.
    /// </summary>
    [SharedFact]
    public void Convert_IntegerScale_CostsUnderThreePerMille()
    {
        using var folder = new TempFolder();
        var source = Repo.At("models/classics-13m");
        FakeQuantized.Save(source, folder["float"], FakeQuantized.FloatScales);
        FakeQuantized.Save(source, folder["integer"], FakeQuantized.IntegerScales);
        var diff = ModelDiff.Run(folder["float"], folder["integer"], new DiffOptions(SharedFactAttribute.Tokens) { Windows = 64, LayerWindows = 0 });
        output.WriteLine($"perplexity with float scales {diff.Reference.Perplexity:F4}, with integer scales {diff.Converted.Perplexity:F4}, ratio {diff.PerplexityRatio:F5}");
        Assert.InRange(diff.Reference.Perplexity / Fp16Perplexity, 1.03, 1.07);
        Assert.InRange(diff.PerplexityRatio, 0.997, 1.003);
    }

    [SharedFact]
    public void Convert_TorchExportForm_AgreesWithItsOriginalEqually()
    {
        using var folder = new TempFolder();
        var torch = Path.Combine(SharedFactAttribute.Folder, "torch-export");
        var report = Converter.Convert(torch, folder["torch"], new ConvertOptions());
        Assert.Equal(43, report.Layers.Count);
        Assert.Equal(13, report.Skipped.Count);
        Converter.Convert(Repo.At("models/classics-13m"), folder["genai"], new ConvertOptions());
        Assert.Equal(WeightHashes(folder["genai"]), WeightHashes(folder["torch"]));

        // The same weights; attention is computed by other operators, whose float16 roundings tip some int8 codes over.
        var options = new DiffOptions(SharedFactAttribute.Tokens) { Windows = 8, LayerWindows = 0 };
        var a = ModelDiff.Run(torch, folder["torch"], options);
        var b = ModelDiff.Run(Repo.At("models/classics-13m"), folder["genai"], options);
        Assert.InRange(a.Reference.Perplexity / b.Reference.Perplexity, 0.999, 1.001);
        Assert.InRange(a.Converted.Perplexity / b.Converted.Perplexity, 0.995, 1.005);
        Assert.InRange(a.Kl.Mean / b.Kl.Mean, 0.98, 1.02);
    }

    [NativeFact]
    public void NativeLibrary_ConvertedModel_SameLogitsAsInProcess()
    {
        using var folder = new TempFolder();
        Converter.Convert(Repo.At("models/classics-13m"), folder["out"], new ConvertOptions());
        var inProcess = Logits(folder["out/model.onnx"], options => IntScaleOps.Register(options), threads: 2);
        var native = Logits(folder["out/model.onnx"], options => options.RegisterCustomOpLibraryV2(NativeLibraryFile.Path, out _), threads: 1);
        Assert.Equal(64 * 4096 * sizeof(ushort), inProcess.Length);
        Assert.True(inProcess.AsSpan().SequenceEqual(native), "logits differ");
        Assert.True(inProcess.Distinct().Count() > 200);
    }

    private static string[] WeightHashes(string folder)
    {
        var model = ModelFile.Load(folder);
        return [.. model.Proto.Graph.Initializer.Where(t => t.Name.EndsWith("_q4_B", StringComparison.Ordinal)).Select(t =>
        {
            using var data = model.Read(t);
            return Convert.ToHexString(SHA256.HashData(data.Slice(0, (int)data.Length)));
        }).Order()];
    }

    /// <summary>Raw float16 logits of one window of 64 tokens.</summary>
    private static byte[] Logits(string model, Action<SessionOptions> register, int threads)
    {
        using var options = new SessionOptions { IntraOpNumThreads = threads };
        register(options);
        using var session = new InferenceSession(model, options);
        var ids = Enumerable.Range(0, 64).Select(i => (i * 61L) % 4096).ToArray();
        var inputs = new Dictionary<string, OrtValue>
        {
            ["input_ids"] = OrtValue.CreateTensorValueFromMemory(ids, [1, 64]),
            ["attention_mask"] = OrtValue.CreateTensorValueFromMemory(Enumerable.Repeat(1L, 64).ToArray(), [1, 64]),
        };
        foreach (var name in session.InputNames.Where(n => n.StartsWith("past_", StringComparison.Ordinal)))
            inputs[name] = OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, TensorElementType.Float16, [1, 2, 0, 64]);
        using var run = new RunOptions();
        using var outputs = session.Run(run, inputs, ["logits"]);
        foreach (var input in inputs.Values) input.Dispose();
        return outputs[0].GetTensorMutableRawData().ToArray();
    }
}
