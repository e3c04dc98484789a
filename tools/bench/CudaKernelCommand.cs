using System.CommandLine;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Onnx.IntScale.Bench;

/// <summary><c>bench cuda-kernels</c>.</summary>
internal static class CudaKernelCommand
{
    private static readonly JsonSerializerOptions JsonOptions = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        WriteIndented = true,
    };

    public static Command Create()
    {
        var shapes = new Option<string>("--shapes") { Description = "Weight matrices as KxN, with commas between.", DefaultValueFactory = _ => "4096x4096,4096x14336,14336x4096" };
        var m = new Option<string>("--m") { Description = "Rows of activations (tokens), with commas between.", DefaultValueFactory = _ => "1,8,16,32,64,128,256,1024,4096" };
        var blocks = new Option<string>("--blocks") { Description = "Weights that share a scale, with commas between.", DefaultValueFactory = _ => "128" };
        var sets = new Option<int>("--sets") { Description = "Weight sets, one after the other; 0 for at least 24, and so many that they exceed 4 times the L2 cache, but no more than 6 GB in float16." };
        var rounds = new Option<int>("--rounds") { Description = "Rounds, each of some milliseconds a kernel; medians are told.", DefaultValueFactory = _ => 25 };
        var largest = new Option<int>("--largest-scale") { Description = "Largest integer scale; up to 15, codes times their scale fit int8.", DefaultValueFactory = _ => short.MaxValue };
        var stream = new Option<bool>("--stream") { Description = "Let the host launch each kernel, instead of replaying a CUDA graph." };
        var bandwidth = new Option<double>("--bandwidth") { Description = "Roofline: TB/s of the device's memory.", DefaultValueFactory = _ => Roofline.Default.BytesPerSecond / 1e12 };
        var tops = new Option<double>("--tops") { Description = "Roofline: 10^12 int8 operations a second.", DefaultValueFactory = _ => Roofline.Default.OperationsPerSecond / 1e12 };
        var device = new Option<int>("--device") { Description = "Number of the GPU." };
        var kernel = new Option<string?>("--kernel") { Description = "The only family of matmul kernels to use." };
        var json = new Option<bool>("--json") { Description = "Machine-readable result on stdout; progress stays on stderr." };
        var command = new Command("cuda-kernels", """
            Times our CUDA kernels alone, between CUDA events, activation quantization included. It needs an NVIDIA driver, not ONNX Runtime's CUDA provider.
            Where a kernel has a twin with float16 group scales (compute capability 9.0), that one takes turns with it: what integer scales buy.

            Examples:
              bench cuda-kernels --m 1,64,1024 --blocks 64,128,256
              bench cuda-kernels --shapes 4096x14336 --stream --json
            """)
        {
            shapes, m, blocks, sets, rounds, largest, stream, bandwidth, tops, device, kernel, json,
        };
        command.SetAction(parsed =>
        {
            // First of all: the variable is read once.
            if (parsed.GetValue(kernel) is { } only) Environment.SetEnvironmentVariable(CudaKernels.Variable, only);
            var options = new CudaKernelOptions(
                [.. CpuCommand.Numbers("--blocks", parsed.GetValue(blocks)!).SelectMany(b => CpuCommand.Parts("--shapes", parsed.GetValue(shapes)!).Select(s => CpuCommand.Shape(s, 4, b)))],
                CpuCommand.Numbers("--m", parsed.GetValue(m)!),
                parsed.GetValue(sets), parsed.GetValue(rounds), CudaCommand.Largest(parsed.GetValue(largest)), !parsed.GetValue(stream),
                new Roofline(parsed.GetValue(bandwidth) * 1e12, parsed.GetValue(tops) * 1e12));
            if (options.Rounds < 1) throw new BenchException("--rounds must be positive");
            using var bench = new CudaKernelBench(parsed.GetValue(device));
            var rows = bench.Run(options, Console.Error.WriteLine);
            var (typed, gpu) = ($"bench {string.Join(' ', parsed.Tokens.Select(t => t.Value))}", Gpu.First());
            Console.WriteLine(parsed.GetValue(json) ? JsonSerializer.Serialize(new { gpu, command = typed, options.Graphs, rows }, JsonOptions) : Report(gpu, typed, options, rows));
            return 0;
        });
        return command;
    }

    private static string Report(Gpu? gpu, string typed, CudaKernelOptions options, IReadOnlyList<CudaKernelRow> rows) => string.Join(Environment.NewLine,
    [
        $"- GPU: {gpu?.Describe()}",
        $"- `{typed}`",
        $"- kernels between CUDA events, one weight set after the other, {(options.Graphs ? "replayed from a CUDA graph" : "launched by the host")}",
        "",
        .. Twins(rows),
        .. Text.Table(
            ["K x N", "block", "sets", "M", "variant", "kernels", "µs", "TOPS", "weights GB/s", "of roofline", "x integer"],
            rows.Select(r => new[]
            {
                $"{r.Shape.K} x {r.Shape.N}", Text.F($"{r.Shape.BlockSize}"), Text.F($"{r.Sets}"), Text.F($"{r.M}"), r.Variant, r.Kernels, Text.F($"{r.Us:F2}"),
                Text.F($"{r.Tops:F1}"), Text.F($"{r.WeightGbps:F0}"), Text.F($"{r.RooflineShare:F2}"), Text.F($"{r.Ratio:F2}"),
            })),
    ]);

    /// <summary>What float scales cost, where they were timed.</summary>
    private static IEnumerable<string> Twins(IReadOnlyList<CudaKernelRow> rows)
    {
        var twins = rows.Where(r => r.Variant == CudaKernelBench.Twin).ToList();
        if (twins.Count == 0) return [];
        var columns = twins.Select(r => r.M).Distinct().Order().ToList();
        return
        [
            "Time of the twin with float scales / time of the integer kernels; above 1, integer scales are faster:",
            "",
            .. Text.Table(
                ["K x N", "block", .. columns.Select(m => Text.F($"M={m}"))],
                twins.GroupBy(r => r.Shape).Select(g => (string[])
                [
                    $"{g.Key.K} x {g.Key.N}", Text.F($"{g.Key.BlockSize}"),
                    .. columns.Select(m => g.FirstOrDefault(r => r.M == m) is { } r ? Text.F($"{r.Ratio:F3}") : ""),
                ])),
            "",
        ];
    }
}
