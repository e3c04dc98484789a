namespace Onnx.IntScale.Bench;

/// <summary>One operator to measure on the GPU; activations and outputs are float16.</summary>
/// <param name="Name">Name in results.</param>
/// <param name="Form">Its model.</param>
/// <param name="MaxError">Largest ‖y - ŷ‖ / ‖y‖ against the float16 MatMul that counts as right.</param>
/// <param name="Config">Session configuration entries.</param>
/// <param name="HopperLayout">Whether MatMulNBits' codes are stored in the order of ONNX Runtime's kernels for Hopper (<see cref="HopperCodes"/>); left out where those cannot be used.</param>
internal sealed record CudaOperator(string Name, WeightForm Form, double MaxError, IReadOnlyDictionary<string, string> Config, bool HopperLayout = false)
{
    /// <summary>Name of our operator.</summary>
    public const string Ours = "intscale";

    /// <summary>Name of the float16 product, which the others are checked against.</summary>
    public const string Reference = "matmul_float16";

    /// <summary>The session option that turns ONNX Runtime's CUTLASS kernels for MatMulNBits (fpA_intB) on.</summary>
    public const string FpAIntB = "ep.cuda.fpa_intb_gemm";

    // int8 activations of a normal distribution, a step of about 4σ/127 over a whole row: 0.9 % of rounding noise.
    private const double Int8Error = 0.02;

    // Sums in float16, of up to 14336 products.
    private const double HalfError = 0.01;

    private static readonly Dictionary<string, string> None = [];

    /// <summary>The operators in the order of their turns: the reference, ONNX Runtime's three int4 kernels, ours.</summary>
    public static IReadOnlyList<CudaOperator> All =>
    [
        new(Reference, WeightForm.Float, 0, None),
        new("matmulnbits", WeightForm.MatMulNBits4, HalfError, None),
        new("matmulnbits_fpa_intb", WeightForm.MatMulNBits4, HalfError, new Dictionary<string, string> { [FpAIntB] = "1" }),
        new("matmulnbits_sm90", WeightForm.MatMulNBits4, HalfError, None, HopperLayout: true),
        new(Ours, WeightForm.IntScale4, Int8Error, None),
    ];

    /// <summary>Name of the model's file: operators that differ in their configuration only share one.</summary>
    public string FileName => $"{Form}{(HopperLayout ? "-hopper" : "")}.onnx";

    /// <summary>Bytes of a matrix' weights as this operator reads them.</summary>
    public long WeightBytes(MatMulShape s) => Form switch
    {
        WeightForm.Float => (long)s.K * s.N * sizeof(ushort),
        WeightForm.MatMulNBits4 => (long)s.N * (s.RowBytes + (s.KBlocks * sizeof(ushort))),
        _ => (long)s.N * (s.RowBytes + (s.KBlocks * sizeof(short)) + sizeof(float)),
    };
}
