namespace Onnx.IntScale.Bench;

/// <summary>One operator to measure.</summary>
/// <param name="Name">Name in results.</param>
/// <param name="MaxError">Largest ‖y - ŷ‖ / ‖y‖ against the float product that counts as right.</param>
/// <param name="WeightBytes">Bytes of one weight set as the model stores it.</param>
/// <param name="Model">The model of one weight set.</param>
internal sealed record BenchOperator(string Name, double MaxError, Func<MatMulShape, long> WeightBytes, Func<WeightSet, byte[]> Model)
{
    /// <summary>Name of the operator that ratios refer to.</summary>
    public const string Baseline = "matmulnbits_level4";

    /// <summary>Name of our operator.</summary>
    public const string Ours = "intscale";

    // int8 activations of a normal distribution, a step of about 4σ/127 over a whole row: 0.9 % of rounding noise.
    private const double Int8Error = 0.02;
    private const double FloatError = 0.001;

    /// <summary>The operators in the order of their turns: ours beside the baseline; the last one is the float product that the others are checked against.</summary>
    public static IReadOnlyList<BenchOperator> All =>
    [
        new(Ours, Int8Error, s => CodeBytes(s) + ((long)s.N * ((s.KBlocks * sizeof(short)) + sizeof(float))), BenchModels.IntScale),
        new(Baseline, Int8Error, NBitsBytes, w => BenchModels.MatMulNBits(w, 4)),
        new("matmulnbits_level0", FloatError, NBitsBytes, w => BenchModels.MatMulNBits(w, 0)),
        new("matmul_float32", FloatError, s => (long)s.K * s.N * sizeof(float), BenchModels.MatMul),
    ];

    /// <summary>Our kernels for M rows; empty for ONNX Runtime's operators.</summary>
    public string KernelFor(int m) => Name == Ours ? CpuKernels.Describe(m) : "";

    private static long CodeBytes(MatMulShape s) => (long)s.N * s.RowBytes;

    private static long NBitsBytes(MatMulShape s) => CodeBytes(s) + ((long)s.N * s.KBlocks * sizeof(float));
}
