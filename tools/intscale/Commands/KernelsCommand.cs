using System.CommandLine;
using System.Diagnostics;
using System.Globalization;

namespace Onnx.IntScale.Tool;

/// <summary><c>intscale kernels</c>.</summary>
internal static class KernelsCommand
{
    private static readonly TimeSpan PerKernel = TimeSpan.FromMilliseconds(300);

    public static Command Create()
    {
        var m = new Option<int>("--m") { Description = "Rows of A (tokens).", DefaultValueFactory = _ => 1 };
        var k = new Option<int>("--k") { Description = "Input features.", DefaultValueFactory = _ => 4096 };
        var n = new Option<int>("--n") { Description = "Output channels.", DefaultValueFactory = _ => 4096 };
        var bits = new Option<int>("--bits") { Description = "Bits of a weight: 4 or 8.", DefaultValueFactory = _ => 4 };
        var block = new Option<int>("--block-size") { Description = "Weights that share a scale.", DefaultValueFactory = _ => 128 };
        var cuda = new Option<bool>("--cuda") { Description = "Print the GPUs, and what the operator would launch on one, instead." };
        var zeroPoints = new Option<bool>("--zero-points") { Description = "With --cuda: the weights have zero points." };
        var accumulator = Cli.Number("--max-accumulator", "With --cuda: the weights' certificate.", Certificate.DefaultLimit);
        var largest = Cli.Number("--largest-scale", "With --cuda: the weights' largest integer scale.", (int)short.MaxValue);
        var capability = new Option<string?>("--cc") { Description = "With --cuda: compute capability to plan for instead of this machine's, such as 8.0; 9.0 where there is no GPU." };
        var sms = Cli.OptionalNumber<int>("--sm", "With --cuda: number of multiprocessors to plan for; 132 where there is no GPU.");
        var json = Cli.Json();
        var command = new Command("kernels", $"""
            Lists the CPU kernels, best first, times those that this processor runs on one thread, and marks what the operator would take.
            {CpuKernels.Variable}=NAME forces one. With --cuda, prints the plans of the GPU; {CudaKernels.Variable}=NAME forces a family of kernels.

            Examples:
              intscale kernels --m 32 --k 4096 --n 14336
              intscale kernels --cuda --k 4096 --n 14336
            """)
        {
            m, k, n, bits, block, cuda, zeroPoints, accumulator, largest, capability, sms, json,
        };
        command.SetAction(parsed =>
        {
            var shape = new MatMulShape(parsed.GetValue(k), parsed.GetValue(n), parsed.GetValue(bits), parsed.GetValue(block));
            if (shape.Fault() is { } fault) throw new ModelException("kernels", fault);
            var rows = parsed.GetValue(m);
            if (rows is < 1 or > 1 << 16) throw new ModelException("kernels", $"m={rows} must lie between 1 and 65536");
            if (!parsed.GetValue(cuda)) return Run(shape, rows, parsed.GetValue(json));
            int? only = parsed.GetResult(m) is { Implicit: false } ? rows : null;
            CudaDevice? device = parsed.GetValue(capability) == null && parsed.GetValue(sms) == null ? null : CudaPlans.Assume(parsed.GetValue(capability) ?? "9.0", parsed.GetValue(sms) ?? 132);
            if (parsed.GetValue(accumulator) is < 0 or > Certificate.Int32Limit) throw new ModelException("kernels", $"--max-accumulator must lie between 0 and {Certificate.Int32Limit}");
            if (parsed.GetValue(largest) is < 0 or > 1 << 15) throw new ModelException("kernels", $"--largest-scale must lie between 0 and {1 << 15}");
            return CudaPlans.Print(shape, only, new(parsed.GetValue(zeroPoints), parsed.GetValue(accumulator), parsed.GetValue(largest)), device, parsed.GetValue(json));
        });
        return command;
    }

    private static int Run(MatMulShape shape, int m, bool json)
    {
        var taken = CpuKernels.Describe(m).Split(", ");
        var lines = ProgressLine.Run("timing", report => CpuKernels.All.Select((kernel, i) =>
        {
            report(kernel.Name, i / (double)CpuKernels.All.Count);
            double? us = kernel.IsSupported ? Time(shape, m, kernel) : null;
            return new Line(kernel.Name, kernel.Needs, kernel.IsSupported, kernel.BestFromM, us, us == null ? null : 2.0 * m * shape.K * shape.N / us / 1e3, taken.Contains(kernel.Name));
        }).ToList());
        if (json)
        {
            Cli.WriteJson(new { shape.K, shape.N, m, shape.Bits, shape.BlockSize, kernels = lines });
            return Cli.Done;
        }

        var table = Cli.Table("kernel", "needs", "best from M", "µs", "GOP/s", "taken");
        foreach (var l in lines)
            table.AddPlainRow(l.Name, l.Needs, $"{l.BestFromM}", l.Us is { } us ? F($"{us:F1}") : "not here", l.Gops is { } gops ? F($"{gops:F1}") : "", l.Taken ? "<--" : "");
        Cli.Print(table);
        Console.WriteLine($"M={m}, K={shape.K}, N={shape.N}, {shape.Bits} bits, block_size {shape.BlockSize}; one thread, float32 activations, the weights in turn from 64 MiB or more.");
        return Cli.Done;
    }

    /// <summary>Median time of a call with one kernel, µs; weights alternate among sets that the cache does not hold.</summary>
    private static unsafe double Time(MatMulShape shape, int m, CpuKernel kernel)
    {
        var plan = CpuKernels.Plan(m, kernel);
        var setBytes = (long)shape.N * shape.RowBytes;
        var sets = (int)Math.Clamp((64L << 20) / setBytes, 1, 64);
        using var b = Random(sets * setBytes);
        using var scales = Random((long)shape.N * shape.KBlocks * sizeof(short));
        using var channelScales = new TensorBuffer((long)shape.N * sizeof(float));
        using var a = new TensorBuffer((long)m * shape.K * sizeof(float));
        using var y = new TensorBuffer((long)m * shape.N * sizeof(float));
        using var scratch = new TensorBuffer(MatMulJob.ScratchBytes(shape, plan.ScratchRows(m)));
        new Span<float>(channelScales.Data, shape.N).Fill(1e-3f);
        var random = new Random(1);
        for (var i = 0L; i < (long)m * shape.K; i++) ((float*)a.Data)[i] = random.NextSingle() - 0.5f;

        var times = new List<double>();
        var clock = Stopwatch.StartNew();
        for (var i = 0; i < 5 || clock.Elapsed < PerKernel; i++)
        {
            var weights = new WeightView(shape, b.Data + (i % sets * setBytes), (short*)scales.Data, (float*)channelScales.Data, null);
            var job = new MatMulJob { Plan = plan, Weights = weights, M = m, Type = ElementType.Float, A = a.Data, Y = y.Data };
            job.UseScratch(scratch.Data);
            var start = Stopwatch.GetTimestamp();
            IntScaleMatMul.Run(job);
            times.Add(Stopwatch.GetElapsedTime(start).TotalMicroseconds);
            if (clock.Elapsed > 20 * PerKernel) break;
        }

        times.Sort();
        return times[times.Count / 2];
    }

    private static unsafe TensorBuffer Random(long bytes)
    {
        var buffer = new TensorBuffer(bytes);
        var random = new Random(7);
        for (var i = 0L; i < bytes; i += 1 << 20) random.NextBytes(buffer.Slice(i, (int)Math.Min(1 << 20, bytes - i)));
        return buffer;
    }

    private static string F(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private sealed record Line(string Name, string Needs, bool Supported, int BestFromM, double? Us, double? Gops, bool Taken);
}
