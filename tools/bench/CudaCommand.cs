using System.CommandLine;

namespace Onnx.IntScale.Bench;

/// <summary><c>bench cuda</c>.</summary>
internal static class CudaCommand
{
    public static Command Create()
    {
        var shapes = new Option<string>("--shapes") { Description = "Weight matrices as KxN, with commas between.", DefaultValueFactory = _ => "4096x4096,4096x14336,14336x4096" };
        var m = new Option<string>("--m") { Description = "Rows of activations (tokens), with commas between.", DefaultValueFactory = _ => "1,8,16,32,64,128,256,1024,4096" };
        var block = new Option<int>("--block") { Description = "Weights that share a scale.", DefaultValueFactory = _ => 128 };
        var sets = new Option<int>("--sets") { Description = "Weight sets of a graph; 0 for at least 24, and so many that int4 weights exceed 4 times the L2 cache, but no more than 6 GB in float16." };
        var repeats = new Option<int>("--repeats") { Description = "Nodes of each weight set, one after all others: a Run's own time is divided among so many times the sets.", DefaultValueFactory = _ => 4 };
        var seconds = new Option<double>("--seconds") { Description = "Seconds for each operator at each shape and M, and five turns at least. A warm-up comes on top: 0.3 seconds and 8 runs, before the first row 1 second and 60 runs.", DefaultValueFactory = _ => 0.5 };
        var turn = TurnOption();
        var operators = new Option<string>("--operators") { Description = $"Those to measure, with commas between; {CudaOperator.Reference} is always among them.", DefaultValueFactory = _ => string.Join(',', CudaOperator.All.Select(o => o.Name)) };
        var largest = new Option<int>("--largest-scale") { Description = "Largest integer scale; up to 15, codes times their scale fit int8.", DefaultValueFactory = _ => short.MaxValue };
        var graph = new Option<bool>("--graph") { Description = "Replay every operator's runs from a CUDA graph (enable_cuda_graph), which leaves out the host's time to launch kernels." };
        var library = new Option<string?>("--library") { Description = "A libonnx_intscale to take the operator from, instead of this program's own." };
        var bandwidth = new Option<double>("--bandwidth") { Description = "Roofline: TB/s of the device's memory.", DefaultValueFactory = _ => Roofline.Default.BytesPerSecond / 1e12 };
        var tops = new Option<double>("--tops") { Description = "Roofline: 10^12 int8 operations a second.", DefaultValueFactory = _ => Roofline.Default.OperationsPerSecond / 1e12 };
        var ep = new Option<string>("--ep") { Description = "cuda, or cpu to try the benchmark itself.", DefaultValueFactory = _ => "cuda", Hidden = true };
        var json = new Option<bool>("--json") { Description = "Machine-readable result on stdout; progress stays on stderr." };
        var command = new Command("cuda", """
            Times our operator, a float16 MatMul and MatMulNBits (default and ep.cuda.fpa_intb_gemm=1) on the CUDA execution provider.
            Input and outputs are bound on the device; weights of a node are not used again before those of all others, so that they come from memory.
            An operator whose output is wrong is not timed. It needs CUDA 13 and its libraries (tools/cuda/README.md).

            Examples:
              bench cuda --shapes 4096x4096 --m 1,64,1024
              bench cuda --graph --block 64 --json
            """)
        {
            shapes, m, block, sets, repeats, seconds, turn, operators, largest, graph, library, bandwidth, tops, ep, json,
        };
        command.SetAction(parsed =>
        {
            var cuda = IsCuda(parsed.GetValue(ep)!);
            var options = new CudaBenchOptions(
                [.. CpuCommand.Parts("--shapes", parsed.GetValue(shapes)!).Select(s => CpuCommand.Shape(s, 4, parsed.GetValue(block)))],
                CpuCommand.Numbers("--m", parsed.GetValue(m)!),
                Operators(parsed.GetValue(operators)!),
                parsed.GetValue(sets),
                parsed.GetValue(repeats) is > 0 and var times ? times : throw new BenchException("--repeats must be 1 or more"),
                parsed.GetValue(seconds),
                Turn(parsed.GetValue(turn)),
                Largest(parsed.GetValue(largest)),
                parsed.GetValue(graph),
                new Roofline(parsed.GetValue(bandwidth) * 1e12, parsed.GetValue(tops) * 1e12),
                cuda,
                parsed.GetValue(library));
            var result = CudaBench.Run(options, Console.Error.WriteLine);
            var typed = $"bench {string.Join(' ', parsed.Tokens.Select(t => t.Value))}";
            var gpu = cuda ? Gpu.First() : null;
            Console.WriteLine(parsed.GetValue(json) ? CudaReport.Json(Machine.Describe(), gpu, typed, options, result) : CudaReport.Text(Machine.Describe(), gpu, typed, options, result));
            return 0;
        });
        return command;
    }

    /// <summary>What --ep says.</summary>
    internal static bool IsCuda(string ep) => ep switch
    {
        "cuda" => true,
        "cpu" => false,
        _ => throw new BenchException($"--ep: '{ep}' is neither cuda nor cpu"),
    };

    /// <summary>How long turns are.</summary>
    internal static Option<double> TurnOption() => new("--turn-ms")
    {
        Description = "Milliseconds of a turn, of which the second half counts: the GPU's clocks are then those that what runs brings about by itself. 0 for turns of one Run.",
        DefaultValueFactory = _ => 40,
    };

    /// <summary>What --turn-ms says.</summary>
    internal static TimeSpan Turn(double ms) => ms is >= 0 and <= 1e6 ? TimeSpan.FromMilliseconds(ms) : throw new BenchException(Text.F($"--turn-ms {ms} must lie between 0 and 1000000"));

    /// <summary>What --largest-scale says.</summary>
    internal static int Largest(int scale) => scale is >= 1 and <= short.MaxValue ? scale : throw new BenchException($"--largest-scale {scale} must lie between 1 and {short.MaxValue}");

    /// <summary>The chosen operators and the reference, in the order of the table.</summary>
    private static IReadOnlyList<CudaOperator> Operators(string text)
    {
        var names = CpuCommand.Parts("--operators", text);
        if (names.FirstOrDefault(n => CudaOperator.All.All(o => o.Name != n)) is { } unknown)
            throw new BenchException($"--operators: '{unknown}' is none of: {string.Join(", ", CudaOperator.All.Select(o => o.Name))}");
        return [.. CudaOperator.All.Where(o => o.Name == CudaOperator.Reference || names.Contains(o.Name))];
    }
}
