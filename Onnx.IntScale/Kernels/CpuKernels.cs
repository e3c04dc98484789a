namespace Onnx.IntScale;

/// <summary>
/// Integer dot products of rows m0..m1 of A with channels n0..n1 of B:
/// acc[m - m0, n - n0] = Σ_g scales[n,g] · Σ_{k in g} a8[m,k] · (q[n,k] - zp[n,g]), all of it in int32.
/// </summary>
/// <param name="job">A call whose rows are quantized.</param>
/// <param name="m0">First row.</param>
/// <param name="m1">One past the last row.</param>
/// <param name="n0">First channel.</param>
/// <param name="n1">One past the last channel.</param>
/// <param name="acc">Destination, row-major [m1 - m0, n1 - n0].</param>
public unsafe delegate void AccumulateTile(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc);

/// <summary>One way to compute a tile on this processor.</summary>
/// <param name="Name">Name for <c>INTSCALE_CPU_KERNEL</c> and reports.</param>
/// <param name="Needs">Instruction sets, for people.</param>
/// <param name="IsSupported">Whether this processor has them.</param>
/// <param name="Accumulate">The kernel.</param>
public sealed record CpuKernel(string Name, string Needs, bool IsSupported, AccumulateTile Accumulate);

/// <summary>The CPU kernels, best first. All give the same bits.</summary>
public static unsafe class CpuKernels
{
    /// <summary>Environment variable that forces one kernel by name.</summary>
    public const string Variable = "INTSCALE_CPU_KERNEL";

    /// <summary>The specification: plain loops, any processor.</summary>
    public static readonly CpuKernel Scalar = new("scalar", "nothing", true, ScalarKernel.Accumulate);

    /// <summary>Every kernel, best first, whether this processor runs it or not.</summary>
    public static readonly IReadOnlyList<CpuKernel> All =
    [
        new("avx2", "AVX2", Avx2Kernel.IsSupported, Avx2Kernel.Accumulate),
        Scalar,
    ];

    /// <summary>The kernels that this processor runs, best first.</summary>
    public static IEnumerable<CpuKernel> Available => All.Where(k => k.IsSupported);

    /// <summary>The kernel in use: the one that <see cref="Variable"/> names, or the best available.</summary>
    public static CpuKernel Best { get; } = Choose(Environment.GetEnvironmentVariable(Variable));

    /// <summary>The kernel of that name, or the best one where the name is null or empty.</summary>
    /// <exception cref="ArgumentException">No such kernel, or this processor lacks its instruction set.</exception>
    public static CpuKernel Choose(string? name)
    {
        if (string.IsNullOrEmpty(name)) return Available.First();
        var kernel = All.FirstOrDefault(k => k.Name == name)
            ?? throw new ArgumentException($"{Variable}={name}: no such kernel; there are {string.Join(", ", All.Select(k => k.Name))}");
        return kernel.IsSupported
            ? kernel
            : throw new ArgumentException($"{Variable}={name}: this processor lacks {kernel.Needs}; it runs {string.Join(", ", Available.Select(k => k.Name))}");
    }
}
