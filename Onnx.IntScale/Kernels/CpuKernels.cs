namespace Onnx.IntScale;

/// <summary>
/// Integer dot products of rows m0..m1 of A with channels n0..n1 of B:
/// acc[m - m0, n - n0] = Σ_g scales[n,g] · Σ_{k in g} a8[m,k] · (q[n,k] - zp[n,g]), all of it in int32.
/// </summary>
/// <param name="job">A call whose rows are quantized.</param>
/// <param name="m0">First row; a multiple of 16 for panel kernels.</param>
/// <param name="m1">One past the last row.</param>
/// <param name="n0">First channel.</param>
/// <param name="n1">One past the last channel.</param>
/// <param name="acc">Destination: row-major [m1 - m0, n1 - n0]; for panel kernels [panel, 64 channels, 16 rows], 64-byte aligned, for at most 64 channels.</param>
public unsafe delegate void AccumulateTile(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc);

/// <summary>One way to compute a tile on this processor.</summary>
/// <param name="Name">Name for <c>INTSCALE_CPU_KERNEL</c> and reports.</param>
/// <param name="Needs">Instruction sets, for people.</param>
/// <param name="IsSupported">Whether this processor has them.</param>
/// <param name="BestFromM">Rows from which this kernel is the one to take; 1 for row kernels.</param>
/// <param name="Panels">Whether it wants the activations in panels of 16 rows instead of rows.</param>
/// <param name="Accumulate">The kernel.</param>
public sealed record CpuKernel(string Name, string Needs, bool IsSupported, int BestFromM, bool Panels, AccumulateTile Accumulate);

/// <summary>The CPU kernels, best first. All give the same bits.</summary>
public static unsafe class CpuKernels
{
    /// <summary>Environment variable that forces one kernel by name.</summary>
    public const string Variable = "INTSCALE_CPU_KERNEL";

    /// <summary>The specification: plain loops, any processor.</summary>
    public static readonly CpuKernel Scalar = new("scalar", "nothing", true, 1, false, ScalarKernel.Accumulate);

    /// <summary>Every kernel, best first, whether this processor runs it or not.</summary>
    public static readonly IReadOnlyList<CpuKernel> All =
    [
        new("amx-panel", "AMX-INT8, AVX-512BW, executable memory", AmxPanelKernel.IsSupported, 12, true, AmxPanelKernel.Accumulate),
        new("avx512vnni-panel", "AVX512-VNNI, executable memory", VnniPanelKernel.IsSupported, 12, true, VnniPanelKernel.Accumulate),
        new("avx512bw-panel", "AVX-512BW", Avx512PanelKernel.IsSupported, 12, true, Avx512PanelKernel.Accumulate),
        new("avxvnni-panel", "AVX-VNNI", AvxVnniPanelKernel.IsSupported, 12, true, AvxVnniPanelKernel.Accumulate),
        new("avx512vnni", "AVX512-VNNI, executable memory", VnniRowKernel.IsSupported, 1, false, VnniRowKernel.Accumulate),
        new("avx512bw", "AVX-512BW", Avx512RowKernel.IsSupported, 1, false, Avx512RowKernel.Accumulate),
        new("avxvnni", "AVX-VNNI", AvxVnniKernel.IsSupported, 1, false, AvxVnniKernel.Accumulate),
        new("avx2", "AVX2", Avx2Kernel.IsSupported, 1, false, Avx2Kernel.Accumulate),
        new("vector128", "128-bit vectors, also Arm64's", Vector128Kernel.IsSupported, 1, false, Vector128Kernel.Accumulate),
        Scalar,
    ];

    /// <summary>The kernels that this processor runs, best first.</summary>
    public static IEnumerable<CpuKernel> Available => All.Where(k => k.IsSupported);

    /// <summary>The kernel that <see cref="Variable"/> forces, or null.</summary>
    public static CpuKernel? Forced { get; } = Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } name ? Choose(name) : null;

    /// <summary>The kernel of that name.</summary>
    /// <exception cref="ArgumentException">No such kernel, or this processor lacks its instruction set.</exception>
    public static CpuKernel Choose(string name)
    {
        var kernel = All.FirstOrDefault(k => k.Name == name)
            ?? throw new ArgumentException($"{Variable}={name}: no such kernel; there are {string.Join(", ", All.Select(k => k.Name))}");
        return kernel.IsSupported
            ? kernel
            : throw new ArgumentException($"{Variable}={name}: this processor, or this build for it, lacks {kernel.Needs}; it runs {string.Join(", ", Available.Select(k => k.Name))}");
    }

    /// <summary>The kernels for a call with M rows.</summary>
    /// <param name="m">Rows.</param>
    /// <param name="only">The only kernel to use; null for <see cref="Forced"/>, or else the best.</param>
    public static KernelPlan Plan(int m, CpuKernel? only = null)
    {
        only ??= Forced;
        var row = only is { Panels: false } ? IndexOf(only) : IndexOfBest(panels: false, 1);
        var panel = only == null ? IndexOfBest(panels: true, m) : only.Panels ? IndexOf(only) : -1;
        if (panel < 0) return new(0, row, row);

        // A last panel that would be mostly zeros costs more than its few rows one by one.
        var rest = m % ActivationOrder.PanelRows;
        var filled = only != null || rest >= All[panel].BestFromM ? m + ActivationOrder.PanelRows - 1 : m;
        return new(filled / ActivationOrder.PanelRows * ActivationOrder.PanelRows, panel, row);
    }

    /// <summary>Names of the kernels that a call with M rows uses.</summary>
    public static string Describe(int m) => Plan(m) switch
    {
        { PanelRows: 0 } plan => All[plan.Row].Name,
        var plan when plan.PanelRows >= m => All[plan.Panel].Name,
        var plan => $"{All[plan.Panel].Name}, {All[plan.Row].Name}",
    };

    /// <summary>Place in <see cref="All"/> of the first available kernel of a form for M rows, or -1. Called on every run of a node: no allocation.</summary>
    private static int IndexOfBest(bool panels, int m)
    {
        for (var i = 0; i < All.Count; i++)
        {
            if (All[i].IsSupported && All[i].Panels == panels && All[i].BestFromM <= m) return i;
        }

        return -1;
    }

    private static int IndexOf(CpuKernel kernel)
    {
        for (var i = 0; ; i++)
        {
            if (ReferenceEquals(All[i], kernel)) return i;
        }
    }
}
