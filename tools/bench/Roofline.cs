namespace Onnx.IntScale.Bench;

/// <summary>The least time that a GPU needs for a product of int4 weights and int8 activations.</summary>
/// <param name="BytesPerSecond">What its memory delivers.</param>
/// <param name="OperationsPerSecond">What its tensor cores do on int8; a multiplication and an addition are two.</param>
internal sealed record Roofline(double BytesPerSecond, double OperationsPerSecond)
{
    /// <summary>An H100 SXM as measured: reading 300 MB, and wgmma under its power limit.</summary>
    public static Roofline Default { get; } = new(3.0e12, 1.85e15);

    /// <summary>Seconds for M rows: everything moved once, or every product, whichever takes longer.</summary>
    /// <param name="shape">The weights.</param>
    /// <param name="m">Rows of A, which is float16 as Y is.</param>
    /// <param name="weightBytes">Bytes of the weights.</param>
    public double Seconds(MatMulShape shape, int m, long weightBytes) => Math.Max(
        (weightBytes + ((double)m * (shape.K + shape.N) * sizeof(ushort))) / BytesPerSecond,
        2.0 * m * shape.K * shape.N / OperationsPerSecond);
}
