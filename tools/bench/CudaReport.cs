using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using static Onnx.IntScale.Bench.Text;

namespace Onnx.IntScale.Bench;

/// <summary>Results on the GPU as JSON, or as text whose tables are markdown.</summary>
internal static class CudaReport
{
    private static readonly JsonSerializerOptions JsonOptions = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        WriteIndented = true,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    /// <summary>Everything, for machines.</summary>
    public static string Json(Machine machine, Gpu? gpu, string command, CudaBenchOptions options, CudaBenchResult result) =>
        JsonSerializer.Serialize(new { machine, gpu, command, options.Graphs, TurnMs = options.Turn.TotalMilliseconds, options.Repeats, options.Library, options.Roofline, result.RunUs, result.Rows }, JsonOptions);

    /// <summary>Everything, for people.</summary>
    public static string Text(Machine machine, Gpu? gpu, string command, CudaBenchOptions options, CudaBenchResult result) => string.Join(Environment.NewLine,
    [
        $"- GPU: {gpu?.Describe() ?? "none, the CPU in its place"}",
        F($"- CPU: {machine.Cpu}, {machine.Cores} logical cores; {machine.Os}, .NET {machine.Dotnet}, ONNX Runtime {machine.OnnxRuntime}"),
        $"- `{command}`",
        F($"- median time of Session.Run over a graph of independent nodes, {options.Repeats} of each weight set, / nodes; ") + (options.Graphs ? "runs are replayed from CUDA graphs" : "the host launches every kernel"),
        options.Turn > TimeSpan.Zero ? F($"- the operators take turns of {options.Turn.TotalMilliseconds:G3} ms, of which the second half counts") : "- the operators take turns of one Run",
        F($"- a Run of one tiny node takes {result.RunUs:F1} µs; that / nodes is part of every time below"),
        F($"- roofline: {options.Roofline.BytesPerSecond / 1e12:G3} TB/s, {options.Roofline.OperationsPerSecond / 1e12:G4} TOPS on int8"),
        "",
        "Time of the fastest of ONNX Runtime's operators / time of intscale; above 1, intscale is faster:",
        "",
        .. Summary(result.Rows, CudaOperator.Ours),
        "",
        .. Hopper(result.Rows),
        .. Table(
            ["K x N", "block", "nodes", "M", "operator", "µs", "TOPS", "weights GB/s", "of roofline", "best / it"],
            result.Rows.Select(r => new[]
            {
                $"{r.K} x {r.N}", F($"{r.BlockSize}"), F($"{r.Nodes}"), F($"{r.M}"), r.Operator + (r.Best ? " (best)" : ""), F($"{r.Us:F1}"), F($"{r.Tops:F1}"),
                F($"{r.WeightGbps:F0}"), F($"{r.RooflineShare:F2}"), F($"{r.Ratio:F2}"),
            })),
    ]);

    /// <summary>ONNX Runtime's kernels that want models of their own, told apart.</summary>
    private static IEnumerable<string> Hopper(IReadOnlyList<CudaRow> rows)
    {
        if (CudaOperator.All.FirstOrDefault(o => o.HopperLayout && rows.Any(r => r.Operator == o.Name)) is not { } hopper) return [];
        return [$"The same for {hopper.Name}, whose models are stored in an order that only Hopper GPUs read (it is none of those above):", "", .. Summary(rows, hopper.Name), ""];
    }

    private static IEnumerable<string> Summary(IReadOnlyList<CudaRow> rows, string name)
    {
        var ours = rows.Where(r => r.Operator == name).ToList();
        if (ours.Count == 0) return [$"({name} was not measured)"];
        return Table(
            ["K x N", "block", .. ours.Select(r => r.M).Distinct().Select(m => F($"M={m}"))],
            ours.GroupBy(r => (r.K, r.N, r.BlockSize)).Select(g => (string[])[$"{g.Key.K} x {g.Key.N}", F($"{g.Key.BlockSize}"), .. g.Select(r => F($"{r.Ratio:F2}"))]));
    }
}
