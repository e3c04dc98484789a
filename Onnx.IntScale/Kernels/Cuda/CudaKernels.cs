namespace Onnx.IntScale;

/// <summary>One kernel function.</summary>
/// <param name="Id">Its index in <see cref="CudaKernels.All"/>.</param>
/// <param name="Module">The compiled source file it is in.</param>
/// <param name="Name">Its symbol.</param>
internal sealed record CudaKernel(int Id, string Module, string Name);

/// <summary>How a kernel multiplies by group scales.</summary>
internal enum CudaFold
{
    /// <summary>Codes as 16 · (q - 8): fewer instructions, for weights without zero points and a certificate under 2^27.</summary>
    Times16,

    /// <summary>Codes as q - zero point: any weights.</summary>
    Times1,

    /// <summary>Codes as scale · (q - 8), for weights whose scales let that fit int8 (<see cref="WeightFacts.FitInt8"/>): no group sums at all.</summary>
    Scaled,

    /// <summary>As <see cref="Times16"/>, but the scales are float16, and groups are added in float32: a twin to compare with.</summary>
    Float,
}

/// <summary>What a thread block of a wgmma kernel computes.</summary>
internal enum CudaCut
{
    /// <summary>Tiles, one after the other.</summary>
    Tiles,

    /// <summary>One tile.</summary>
    Tile,

    /// <summary>A slice of K of one tile; the thread blocks of its cluster the other slices.</summary>
    Slices,
}

/// <summary>The CUDA kernels: families of tensor-core and other matmul kernels, and what serves them.</summary>
internal static class CudaKernels
{
    /// <summary>Environment variable that forces one family of matmul kernels where it can compute a call: gemv, wgmma, mma or plain.</summary>
    public const string Variable = "INTSCALE_CUDA_KERNEL";

    /// <summary>Blocks of weights that wgmma kernels are compiled for; those of mma lack 256, which is two of 128 to them.</summary>
    public static readonly int[] Blocks = [32, 64, 128, 256];

    /// <summary>Channels of a tile of wgmma kernels.</summary>
    public static readonly int[] WgmmaChannels = [128, 64];

    /// <summary>Tokens of a tile of wgmma kernels.</summary>
    public static readonly int[] WgmmaTokens = [16, 32, 64, 128, 256];

    /// <summary>Tokens of a tile of mma kernels.</summary>
    public static readonly int[] MmaTokens = [8, 16, 32, 64, 128];

    private static readonly string[] Families = ["gemv", "wgmma", "mma", "plain"];
    private static readonly string[] Types = ["float", "float16", "bfloat16"];
    private static readonly string[] Orders = ["rows", "b32", "b64", "b128"];
    private static readonly string[] Folds = ["x16", "x1", "s8", "f16"];
    private static readonly string[] Cuts = ["", "_one", "_split"];

    /// <summary>Every kernel.</summary>
    public static readonly IReadOnlyList<CudaKernel> All = [.. Names().Select((name, i) => new CudaKernel(i, ModuleOf(name), name))];

    private static readonly bool[] Maps = [.. All.Select(k => k.Name.StartsWith("wgmma_", StringComparison.Ordinal))];
    private static readonly Dictionary<string, int> Ids = All.ToDictionary(k => k.Name, k => k.Id);
    private static readonly int[][] QuantizeIds = [.. Orders.Select(o => Types.Select(t => Ids[$"quantize_{o}_{t}"]).ToArray())];
    private static readonly int[] GemvIds = [.. Types.Select(t => Ids[$"gemv_{t}"])];
    private static readonly int[] PlainIds = [.. Types.Select(t => Ids[$"plain_{t}"])];
    private static readonly int[] WgmmaIds =
    [
        .. from b in Blocks from n in WgmmaChannels from t in WgmmaTokens from f in Folds from c in Cuts select Ids.GetValueOrDefault($"wgmma_b{b}{(n == 64 ? "_n64" : "")}_t{t}_{f}{c}", -1),
    ];
    private static readonly int[] MmaIds = [.. from b in Blocks from t in MmaTokens from f in Folds select Ids.GetValueOrDefault($"mma_b{Math.Min(b, 128)}_t{t}_{f}", -1)];

    /// <summary>Whether a kernel takes a <see cref="CudaTensorMap"/> of B as its second parameter.</summary>
    public static bool TakesTensorMap(int kernel) => Maps[kernel];

    /// <summary>The kernel that computes the overflow certificate.</summary>
    public static int Certificate { get; } = Ids["certificate"];

    /// <summary>The family that <see cref="Variable"/> forces, or null.</summary>
    /// <exception cref="ArgumentException">There is no such family.</exception>
    public static string? Forced { get; } = Environment.GetEnvironmentVariable(Variable) is not { Length: > 0 } name ? null
        : Families.Contains(name) ? name
        : throw new ArgumentException($"{Variable}={name}: no such family of kernels; there are {string.Join(", ", Families)}");

    /// <summary>Quantizes rows of A for matmul kernels of a block size, or in the order of k for block 0.</summary>
    public static int Quantize(int block, ElementType type) => QuantizeIds[block switch { 0 => 0, 32 => 1, 64 => 2, _ => 3 }][IndexOf(type)];

    /// <summary>One row of A, which it quantizes itself.</summary>
    public static int Gemv(ElementType type) => GemvIds[IndexOf(type)];

    /// <summary>Any shape.</summary>
    public static int Plain(ElementType type) => PlainIds[IndexOf(type)];

    /// <summary>Hopper's tensor cores; -1 where there is no such kernel: few twins, few of 64 channels, and of one tile only those and where codes are scaled.</summary>
    public static int Wgmma(int block, int channels, int tokens, CudaFold fold, CudaCut cut)
    {
        var tile = (((Array.IndexOf(Blocks, block) * WgmmaChannels.Length) + Array.IndexOf(WgmmaChannels, channels)) * WgmmaTokens.Length) + Array.IndexOf(WgmmaTokens, tokens);
        return WgmmaIds[(((tile * Folds.Length) + (int)fold) * Cuts.Length) + (int)cut];
    }

    /// <summary>Tensor cores of compute capability 8.0 and later.</summary>
    public static int Mma(int block, int tokens, CudaFold fold) => MmaIds[(((Array.IndexOf(Blocks, block) * MmaTokens.Length) + Array.IndexOf(MmaTokens, tokens)) * Folds.Length) + (int)fold];

    /// <summary>The module of a family's kernels for a block size: that of wgmma, whose kernels are many, is one of a few.</summary>
    public static string Module(string family, int block) => family == "wgmma" ? $"{family}_b{block}" : family;

    /// <summary>A kernel's name begins with its module's.</summary>
    private static string ModuleOf(string kernel)
    {
        var parts = kernel.Split('_');
        return parts[0] == "wgmma" ? $"{parts[0]}_{parts[1]}" : parts[0];
    }

    private static int IndexOf(ElementType type) => type switch { ElementType.Float => 0, ElementType.Float16 => 1, _ => 2 };

    private static IEnumerable<string> Names() =>
    [
        .. from o in Orders from t in Types select $"quantize_{o}_{t}",
        .. from t in Types select $"gemv_{t}",
        .. from t in Types select $"plain_{t}",
        "certificate",
        .. from b in Blocks[..3] from t in MmaTokens from f in Folds[..2] select $"mma_b{b}_t{t}_{f}",
        .. from b in Blocks from t in WgmmaTokens[..4] from f in Folds[..2] from c in (string[])["", "_split"] select $"wgmma_b{b}_t{t}_{f}{c}",
        .. from b in Blocks from t in WgmmaTokens[3..] from c in Cuts where t == 128 || c != "_split" select $"wgmma_b{b}_t{t}_s8{c}",
        .. from b in Blocks from f in Folds[..2] from k in (string[])[$"t32_{f}_split", $"t64_{f}_one", $"t64_{f}_split"] select $"wgmma_b{b}_n64_{k}",
        .. from b in Blocks from c in Cuts[1..] select $"wgmma_b{b}_n64_t128_s8{c}",
        .. from k in (string[])["b64_t128", "b128_t16", "b128_t128", "b256_t128"] from c in (string[])["", "_split"] select $"wgmma_{k}_f16{c}",
    ];
}
