using System.CommandLine;
using System.Globalization;

namespace Onnx.IntScale.Bench;

/// <summary><c>bench cpu</c>.</summary>
internal static class CpuCommand
{
    private const int DefaultWorkingSetMb = 256;
    private const int MaxWorkingSetMb = 1024;
    private const long MaxModelBytes = 2_000_000_000;

    public static Command Create()
    {
        var shapes = new Option<string>("--shapes") { Description = "Weight matrices as KxN, with commas between.", DefaultValueFactory = _ => "4096x4096" };
        var m = new Option<string>("--m") { Description = "Rows of activations (tokens), with commas between.", DefaultValueFactory = _ => "1,8,32" };
        var threads = new Option<string>("--threads") { Description = "Threads of ONNX Runtime's intra-op pool, the caller included, with commas between; they spin between runs, as by default.", DefaultValueFactory = _ => "1" };
        var block = new Option<int>("--block") { Description = "Weights that share a scale.", DefaultValueFactory = _ => 128 };
        var bits = new Option<int>("--bits") { Description = "Bits of a weight: 4 or 8.", DefaultValueFactory = _ => 4 };
        var seconds = new Option<double>("--seconds") { Description = "Seconds for each operator at each shape, M and number of threads; the operators take turns. A warm-up comes on top.", DefaultValueFactory = _ => 1 };
        var workingSet = new Option<int>("--working-set") { Description = $"Megabytes that an operator's weight sets (2 to 256 of them) exceed together; 0 for the larger of {DefaultWorkingSetMb} and 4 times the last-level cache, at most {MaxWorkingSetMb}." };
        var patience = new Option<double>("--patience") { Description = "Seconds to wait, and to measure again, at each shape, M and number of threads where other processes use the machine too; the quietest time counts." };
        var kernel = new Option<string?>("--kernel") { Description = "Our CPU kernel, by name, instead of the best one; a process has one, so compare kernels by their ratios." };
        var json = new Option<bool>("--json") { Description = "Machine-readable result on stdout; progress stays on stderr." };
        var command = new Command("cpu", """
            Times our operator, MatMulNBits (accuracy_level 4 and 0) and a float MatMul on the CPU execution provider.
            Every run takes other weights, so that they come from memory; an operator whose output is wrong is not timed.

            Examples:
              bench cpu --shapes 4096x4096,4096x14336 --m 1,8,32 --threads 1,2
              bench cpu --shapes 2048x2048 --kernel scalar --json
            """)
        {
            shapes, m, threads, block, bits, seconds, workingSet, patience, kernel, json,
        };
        command.SetAction(parsed =>
        {
            // First of all: the variable is read once, when anything touches CpuKernels.
            Choose(parsed.GetValue(kernel));
            var megabytes = parsed.GetValue(workingSet);
            if (megabytes <= 0) megabytes = (int)Math.Clamp(4 * Machine.LastLevelCache() >> 20, DefaultWorkingSetMb, MaxWorkingSetMb);
            var options = new CpuBenchOptions(
                [.. Parts("--shapes", parsed.GetValue(shapes)!).Select(s => Shape(s, parsed.GetValue(bits), parsed.GetValue(block)))],
                Numbers("--m", parsed.GetValue(m)!),
                Numbers("--threads", parsed.GetValue(threads)!),
                parsed.GetValue(seconds),
                (long)megabytes << 20,
                TimeSpan.FromSeconds(parsed.GetValue(patience)));
            var result = CpuBench.Run(options, Console.Error.WriteLine);
            var typed = $"bench {string.Join(' ', parsed.Tokens.Select(t => t.Value))}";
            Console.WriteLine(parsed.GetValue(json) ? CpuReport.Json(Machine.Describe(), typed, result) : CpuReport.Text(Machine.Describe(), typed, result));
            return 0;
        });
        return command;
    }

    private static void Choose(string? name)
    {
        if (name != null) Environment.SetEnvironmentVariable(CpuKernels.Variable, name);
        try
        {
            _ = CpuKernels.Forced;
        }
        catch (TypeInitializationException e) when (e.InnerException is ArgumentException fault)
        {
            throw new BenchException(fault.Message);
        }
    }

    internal static MatMulShape Shape(string text, int bits, int block)
    {
        var parts = text.Split('x');
        if (parts.Length != 2) throw new BenchException($"--shapes: '{text}' is not KxN, such as 4096x14336");
        var shape = new MatMulShape(Number("--shapes", parts[0]), Number("--shapes", parts[1]), bits, block);
        if (shape.Fault() is { } fault) throw new BenchException($"--shapes: {fault}");
        return (long)shape.K * shape.N * sizeof(float) <= MaxModelBytes
            ? shape
            : throw new BenchException($"--shapes: {text} in float passes 2 GB, more than a model holds without external data");
    }

    internal static IReadOnlyList<int> Numbers(string option, string text) => [.. Parts(option, text).Select(p => Number(option, p)).Distinct()];

    private static int Number(string option, string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value > 0
            ? value
            : throw new BenchException($"{option}: '{text}' is not a positive integer");

    internal static string[] Parts(string option, string text) =>
        text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) is { Length: > 0 } parts
            ? parts
            : throw new BenchException($"{option} is empty");
}
