using System.Globalization;

namespace Onnx.IntScale.Tool;

/// <summary><c>intscale kernels --cuda</c>: what the operator would launch. A plan is arithmetic, so no GPU is needed.</summary>
internal static class CudaPlans
{
    private static readonly int[] Rows = [1, 2, 4, 8, 9, 16, 32, 64, 65, 128, 129, 256, 512, 1024, 4096];

    /// <summary>Prints the devices and the plans of a shape for float16 activations.</summary>
    /// <param name="shape">The weights.</param>
    /// <param name="m">Rows of A; null for a list of them.</param>
    /// <param name="weights">What else plans depend on of the weights.</param>
    /// <param name="assumed">A device to plan for; null for this machine's first, or an H100 where there is none.</param>
    /// <param name="json">Whether to print JSON.</param>
    public static int Print(MatMulShape shape, int? m, WeightFacts weights, CudaDevice? assumed, bool json)
    {
        var devices = Enumerable.Range(0, CudaDriver.DeviceCount).Select(CudaDriver.Device).Select(d => (Name: CudaDriver.DeviceName(d), Device: CudaContext.DeviceOf(d))).ToArray();
        var device = assumed ?? (devices.Length > 0 ? devices[0].Device : Assume("9.0", 132));
        var plans = (m is { } rows ? [rows] : Rows).Select(r => (M: r, Plan: CudaPlanner.Plan(shape, r, ElementType.Float16, weights, device))).ToArray();
        if (json)
        {
            Cli.WriteJson(new
            {
                driver = CudaDriver.Missing == null ? Version() : null,
                devices = devices.Select(d => new { d.Name, compute_capability = Capability(d.Device), d.Device.SmCount }),
                compute_capability = Capability(device),
                device.SmCount,
                shape.K,
                shape.N,
                shape.Bits,
                shape.BlockSize,
                weights.ZeroPoints,
                weights.MaxAccumulator,
                weights.LargestScale,
                plans = plans.Select(p => new { m = p.M, quantize = Json(p.Plan.Quantize), matmul = Json(p.Plan.MatMul), scratch_bytes = CudaMatMul.ScratchBytes(p.Plan) }),
            });
            return Cli.Done;
        }

        foreach (var (name, found) in devices) Console.WriteLine($"{name}: compute capability {Capability(found)}, {found.SmCount} SMs, driver for CUDA {Version()}");
        if (devices.Length == 0) Console.WriteLine($"No CUDA here: {CudaDriver.Missing}.");
        var table = Cli.Table("rows M", "kernel", "grid", "threads", "cluster", "shared", "quantize", "grid", "threads", "scratch");
        foreach (var (r, plan) in plans)
        {
            var (matMul, quantize) = (plan.MatMul, plan.Quantize);
            var apart = quantize.Threads > 0;
            table.AddPlainRow(
                $"{r}", Name(matMul), Grid(matMul), $"{matMul.Threads}", $"{matMul.Cluster}", Cli.Bytes(matMul.SharedBytes),
                apart ? Name(quantize) : "", apart ? Grid(quantize) : "", apart ? $"{quantize.Threads}" : "", Cli.Bytes(CudaMatMul.ScratchBytes(plan)));
        }

        Cli.Print(table);
        Console.WriteLine(
            $"K={shape.K}, N={shape.N}, {shape.Bits} bits, block_size {shape.BlockSize}{(weights.ZeroPoints ? ", zero points" : "")}, max_accumulator {weights.MaxAccumulator}, scales up to {weights.LargestScale}, float16 activations; "
            + $"for compute capability {Capability(device)} with {device.SmCount} SMs.");
        return Cli.Done;
    }

    /// <summary>A device that need not be there.</summary>
    /// <param name="capability">Such as 9.0.</param>
    /// <param name="smCount">Multiprocessors.</param>
    public static CudaDevice Assume(string capability, int smCount)
    {
        const int MostSms = 1024;
        var parts = capability.Split('.');
        if (parts.Length != 2 || !int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out var major) || !int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out var minor))
            throw new ModelException("kernels", $"--cc {capability} is not a compute capability, such as 9.0");
        if (major < 8) throw new ModelException("kernels", $"--cc {capability} is too old: the CUDA kernels need 8.0 or later");
        if (smCount is < 1 or > MostSms) throw new ModelException("kernels", $"--sm {smCount} must lie between 1 and {MostSms}");
        // The most that a block may have: 227, 163 or 99 KiB.
        var sharedKib = (major, minor) switch
        {
            (9 or 10 or 11, _) => 227,
            (8, 0 or 7) => 163,
            _ => 99,
        };
        return new(major, minor, smCount, sharedKib * 1024);
    }

    private static string Version() => $"{CudaDriver.Version / 1000}.{CudaDriver.Version % 1000 / 10}";

    private static string Capability(CudaDevice device) => $"{device.Major}.{device.Minor}";

    private static string Name(CudaLaunch launch) => CudaKernels.All[launch.Kernel].Name;

    private static string Grid(CudaLaunch launch) => launch.GridZ > 1 ? $"{launch.GridX} x {launch.GridY} x {launch.GridZ}" : launch.GridY > 1 ? $"{launch.GridX} x {launch.GridY}" : $"{launch.GridX}";

    private static object? Json(CudaLaunch launch) => launch.Threads == 0
        ? null
        : new { kernel = Name(launch), grid = new[] { launch.GridX, launch.GridY, launch.GridZ }, launch.Threads, launch.Cluster, launch.SharedBytes, launch.Pdl };
}
