using System.CommandLine;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Onnx.IntScale.Bench;

/// <summary><c>bench cuda-model</c>.</summary>
internal static class CudaModelCommand
{
    private static readonly JsonSerializerOptions JsonOptions = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        WriteIndented = true,
    };

    public static Command Create()
    {
        var models = new Option<string>("--models") { Description = "Models (.onnx files or folders), with commas between; ratios refer to the first.", Required = true };
        var prefill = new Option<int>("--prefill") { Description = "Tokens of a first run, batch 1; 0 for none.", DefaultValueFactory = _ => 2048 };
        var batches = new Option<string>("--batches") { Description = "Sequences that are decoded at once, with commas between.", DefaultValueFactory = _ => "1,16" };
        var past = new Option<int>("--past") { Description = "Tokens of each sequence before the one that is decoded.", DefaultValueFactory = _ => 512 };
        var turn = CudaCommand.TurnOption();
        var seconds = new Option<double>("--seconds") { Description = "Seconds for each model and phase; the models take turns. A warm-up comes on top.", DefaultValueFactory = _ => 2 };
        var fpAIntB = new Option<bool>("--fpa-intb") { Description = "Run models with MatMulNBits a second time, with ep.cuda.fpa_intb_gemm=1." };
        var graph = new Option<bool>("--graph") { Description = "Replay every model's runs from a CUDA graph (enable_cuda_graph), which leaves out the host's time to launch kernels." };
        var agreement = new Option<double>("--min-agreement") { Description = "Share of positions at which each model must have the same top token as one of the others.", DefaultValueFactory = _ => 0.5 };
        var ep = new Option<string>("--ep") { Description = "cuda, or cpu to try the benchmark itself.", DefaultValueFactory = _ => "cuda", Hidden = true };
        var json = new Option<bool>("--json") { Description = "Machine-readable result on stdout; progress stays on stderr." };
        var command = new Command("cuda-model", """
            Times whole language models on the CUDA execution provider: a prefill, and decoding one token of one or more sequences.
            Tokens, caches and logits stay on the device; decoding repeats the same step, whose place in the caches is the same every time.
            All models are loaded at once. Tokens are random and given. A model whose logits are not finite is not timed.

            Examples:
              bench cuda-model --models /tmp/8b-fp16,/tmp/8b-nbits,/tmp/8b-int4 --fpa-intb
              bench cuda-model --models /tmp/8b-fp16,/tmp/8b-nbits,/tmp/8b-int4 --batches 1,16 --graph --json
            """)
        {
            models, prefill, batches, past, seconds, turn, fpAIntB, graph, agreement, ep, json,
        };
        command.SetAction(parsed =>
        {
            var options = new CudaModelOptions(
                [.. CpuCommand.Parts("--models", parsed.GetValue(models)!).Select(ModelFile.Resolve)],
                parsed.GetValue(prefill),
                CpuCommand.Numbers("--batches", parsed.GetValue(batches)!),
                parsed.GetValue(past), parsed.GetValue(seconds), CudaCommand.Turn(parsed.GetValue(turn)), parsed.GetValue(fpAIntB), parsed.GetValue(graph), parsed.GetValue(agreement),
                CudaCommand.IsCuda(parsed.GetValue(ep)!));
            if (options.Prefill < 0 || options.Past < 1) throw new BenchException("--prefill must not be negative, --past must be positive");
            var (loads, rows) = CudaModelBench.Run(options, Console.Error.WriteLine);
            var typed = $"bench {string.Join(' ', parsed.Tokens.Select(t => t.Value))}";
            var (machine, gpu) = (Machine.Describe(), options.Cuda ? Gpu.First() : null);
            Console.WriteLine(parsed.GetValue(json)
                ? JsonSerializer.Serialize(new { machine, gpu, command = typed, options.Graphs, loads, rows }, JsonOptions)
                : Report(machine, gpu, typed, options, loads, rows));
            return 0;
        });
        return command;
    }

    private static string Report(Machine machine, Gpu? gpu, string typed, CudaModelOptions options, IReadOnlyList<CudaModelLoad> loads, IReadOnlyList<CudaModelRow> rows) => string.Join(Environment.NewLine,
    [
        $"- GPU: {gpu?.Describe() ?? "none, the CPU in its place"}",
        Text.F($"- CPU: {machine.Cpu}, {machine.Cores} logical cores; {machine.Os}, .NET {machine.Dotnet}, ONNX Runtime {machine.OnnxRuntime}"),
        $"- `{typed}`",
        "- " + (options.Graphs ? "runs are replayed from CUDA graphs" : "the host launches every kernel"),
        .. loads.Select(l => Text.F($"- {l.Model}: loaded in {l.LoadSeconds:F1} s, {l.DeviceMib:F0} MiB of device memory")),
        "",
        .. Text.Table(
            ["phase", "batch", "past", "model", "ms", "tok/s", "x first", "top-1 as first"],
            rows.Select(r => new[]
            {
                r.Phase, Text.F($"{r.Batch}"), Text.F($"{r.Past}"), r.Model, Text.F($"{r.Ms:F2}"), Text.F($"{r.TokensPerSecond:F1}"), Text.F($"{r.Ratio:F2}"), Text.F($"{r.Agreement:F3}"),
            })),
    ]);
}
