using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using static Onnx.IntScale.Bench.Text;

namespace Onnx.IntScale.Bench;

/// <summary>Results as JSON, or as text whose tables are markdown.</summary>
internal static class CpuReport
{
    private static readonly JsonSerializerOptions JsonOptions = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        WriteIndented = true,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    /// <summary>Everything, for machines.</summary>
    public static string Json(Machine machine, string command, CpuBenchResult result) =>
        JsonSerializer.Serialize(new { machine, command, session_overhead_us = result.OverheadUs, other_cores = result.OtherCores.Average(), result.Rows }, JsonOptions);

    /// <summary>Everything, for people.</summary>
    public static string Text(Machine machine, string command, CpuBenchResult result) => string.Join(Environment.NewLine,
    [
        F($"- CPU: {machine.Cpu}, {machine.Cores} logical cores ({machine.InstructionSets}); data caches {machine.Caches}; {machine.MemoryGib:F1} GiB"),
        $"- {machine.Os}, .NET {machine.Dotnet}, ONNX Runtime {machine.OnnxRuntime}",
        $"- `{command}`",
        $"- a Run that computes nothing takes {string.Join(", ", result.OverheadUs.Select(o => F($"{o.Value:F1} µs (threads={o.Key})")))}; it is part of every time below",
        F($"- meanwhile other processes kept {result.OtherCores.Average():F2} cores busy on average, {result.OtherCores.Max():F2} at worst"),
        "",
        "Time of MatMulNBits (accuracy_level 4) / time of intscale; above 1, intscale is faster:",
        "",
        .. Summary(result.Rows),
        "",
        .. Table(
            ["K x N", "threads", "M", "operator", "kernel", "µs", "GOP/s", "GB/s", "level 4 / it"],
            result.Rows.Select(r => new[] { $"{r.K} x {r.N}", F($"{r.Threads}"), F($"{r.M}"), r.Operator, r.Kernel, F($"{r.Us:F1}"), F($"{r.Gops:F1}"), F($"{r.Gbps:F1}"), F($"{r.Ratio:F2}") })),
    ]);

    private static IEnumerable<string> Summary(IReadOnlyList<BenchRow> rows)
    {
        var ours = rows.Where(r => r.Operator == BenchOperator.Ours).ToList();
        return Table(
            ["K x N", "threads", .. ours.Select(r => r.M).Distinct().Select(m => F($"M={m}"))],
            ours.GroupBy(r => (r.K, r.N, r.Threads)).Select(g => (string[])[$"{g.Key.K} x {g.Key.N}", F($"{g.Key.Threads}"), .. g.Select(r => F($"{r.Ratio:F2}"))]));
    }
}
