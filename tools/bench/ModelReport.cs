using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Onnx.IntScale.Bench;

/// <summary>Results of whole models as JSON, or as text whose table is markdown.</summary>
internal static class ModelReport
{
    private static readonly JsonSerializerOptions JsonOptions = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        WriteIndented = true,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    /// <summary>Everything, for machines.</summary>
    public static string Json(Machine machine, string command, ModelBenchOptions options, ModelBenchResult result) => JsonSerializer.Serialize(
        new { machine, command, options.Prefill, options.Decode, options.Threads, options.Rounds, prefill_kernel = CpuKernels.Describe(options.Prefill), decode_kernel = CpuKernels.Describe(1), result.Together, result.OtherCores, result.DiscardedRounds, result.Rows },
        JsonOptions);

    /// <summary>Everything, for people.</summary>
    public static string Markdown(Machine machine, string command, ModelBenchOptions options, ModelBenchResult result) => string.Join(Environment.NewLine,
    [
        Text.F($"- CPU: {machine.Cpu}, {machine.Cores} logical cores ({machine.InstructionSets}); data caches {machine.Caches}; {machine.MemoryGib:F1} GiB"),
        $"- {machine.Os}, .NET {machine.Dotnet}, ONNX Runtime {machine.OnnxRuntime}; our kernels: {CpuKernels.Describe(options.Prefill)} (prefill), {CpuKernels.Describe(1)} (decode)",
        $"- `{command}`",
        Text.F($"- {options.Prefill} tokens in one run, then {options.Decode} of one token each; {options.Rounds} rounds, ")
            + (result.Together ? "all models in memory at once" : "each model loaded for its turn in every round")
            + Text.F($"; other processes kept {result.OtherCores.Average():F2} cores busy, {result.OtherCores.Max():F2} at worst; {result.DiscardedRounds} noisier rounds left out"),
        "",
        .. Text.Table(
            ["model", "prefill tok/s", "decode tok/s", "prefill x first", "decode x first", "load s", "loaded MiB", "peak MiB", "mapped MiB", "top-1 as first", "cache top-1"],
            result.Rows.Select(r => new[]
            {
                Path.GetFileName(Path.GetDirectoryName(Path.GetFullPath(r.Model)))!, N($"{r.PrefillTokensPerSecond:F1}"), N($"{r.DecodeTokensPerSecond:F2}"), N($"{r.PrefillRatio:F2}"), N($"{r.DecodeRatio:F2}"),
                N($"{r.LoadSeconds:F1}"), N($"{r.LoadedMib:F0}"), N($"{r.PeakMib:F0}"), N($"{r.MappedMib:F0}"), N($"{r.Agreement:F3}"), N($"{r.CacheAgreement:F3}"),
            })),
    ]);

    private static string N(FormattableString number) => Text.F(number);
}
