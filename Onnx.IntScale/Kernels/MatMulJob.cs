namespace Onnx.IntScale;

/// <summary>The constant inputs of one <c>MatMulNBitsIntScale</c> node, where they lie: memory is the caller's (ORT's initializers, a pinned array).</summary>
/// <param name="shape">K, N, bits, block_size.</param>
/// <param name="b">Codes [N, KBlocks, BlockBytes], element 2i of a block in the low nibble of byte i.</param>
/// <param name="scales">Integer group scales [N, KBlocks], any sign.</param>
/// <param name="channelScales">What the integers are in units of [N].</param>
/// <param name="zeroPoints">Packed like B [N, ZeroPointRowBytes], or null for 2^(bits-1) everywhere.</param>
public readonly unsafe struct WeightView(MatMulShape shape, byte* b, short* scales, float* channelScales, byte* zeroPoints)
{
    /// <summary>K, N, bits, block_size.</summary>
    public readonly MatMulShape Shape = shape;

    /// <summary>Codes [N, KBlocks, BlockBytes].</summary>
    public readonly byte* B = b;

    /// <summary>Integer group scales [N, KBlocks].</summary>
    public readonly short* Scales = scales;

    /// <summary>Units of the integers [N].</summary>
    public readonly float* ChannelScales = channelScales;

    /// <summary>Zero points [N, ZeroPointRowBytes] or null.</summary>
    public readonly byte* ZeroPoints = zeroPoints;

    /// <summary>Codes of row n, block g.</summary>
    public byte* Block(int n, int g) => B + ((long)n * Shape.RowBytes) + (g * Shape.BlockBytes);

    /// <summary>Integer scales of row n, [KBlocks].</summary>
    public short* ScalesOf(int n) => Scales + ((long)n * Shape.KBlocks);

    /// <summary>The zero point of row n, block g.</summary>
    public int ZeroPoint(int n, int g)
    {
        if (ZeroPoints == null) return Shape.DefaultZeroPoint;
        var row = ZeroPoints + ((long)n * Shape.ZeroPointRowBytes);
        return Shape.Bits == 8 ? row[g] : (row[g >> 1] >> ((g & 1) * 4)) & 0xF;
    }
}

/// <summary>
/// One call of the operator: Y [M, N] = A [M, K] · Bᵀ. The quantized activations lie in scratch memory of the caller, so that
/// rows are quantized once and every tile of Y reads them.
/// </summary>
public unsafe struct MatMulJob
{
    /// <summary>The weights.</summary>
    public WeightView Weights;

    /// <summary>Rows of A (tokens); 0 is a job with nothing to do.</summary>
    public int M;

    /// <summary>Element type of A, Bias and Y.</summary>
    public ElementType Type;

    /// <summary>Activations [M, K].</summary>
    public void* A;

    /// <summary>Bias [N] or null.</summary>
    public void* Bias;

    /// <summary>Output [M, N].</summary>
    public void* Y;

    /// <summary>The kernels that compute it.</summary>
    public KernelPlan Plan;

    /// <summary>Scratch: int8 activations [rows, ActivationStride], zero-padded, in the kernels' order (see <see cref="ActivationOrder"/>).</summary>
    public sbyte* A8;

    /// <summary>
    /// Scratch: sum of A8 over each block, what a zero point is multiplied by, at most 256·127 and zero past the last block:
    /// [rows, BlockSumStride], and in pairs of blocks within a panel (<see cref="ActivationOrder.PanelSumPositionOf"/>).
    /// </summary>
    public short* BlockSums;

    /// <summary>Scratch: <see cref="PanelLaneSums"/> of the panels, where they suit the weights.</summary>
    internal short* LaneSums;

    /// <summary>Scratch: a_scale of each row [rows].</summary>
    public float* AScales;

    /// <summary>Bytes of scratch that a call needs.</summary>
    /// <param name="shape">The weights' shape.</param>
    /// <param name="rows">M, and where rows lie in panels all rows of the last panel: <see cref="KernelPlan.ScratchRows"/>.</param>
    public static long ScratchBytes(MatMulShape shape, int rows) =>
        Align((long)rows * shape.ActivationStride) + Align((long)rows * shape.BlockSumStride * sizeof(short)) + LaneSumBytes(shape, rows) + Align((long)rows * sizeof(float)) + Alignment;

    /// <summary>Lays the three scratch arrays out, 64-byte aligned, in memory of at least <see cref="ScratchBytes"/> bytes.</summary>
    public void UseScratch(byte* scratch)
    {
        var rows = Plan.ScratchRows(M);
        A8 = (sbyte*)Align((long)scratch);
        BlockSums = (short*)(A8 + Align((long)rows * Weights.Shape.ActivationStride));
        LaneSums = (short*)((byte*)BlockSums + Align((long)rows * Weights.Shape.BlockSumStride * sizeof(short)));
        AScales = (float*)((byte*)LaneSums + LaneSumBytes(Weights.Shape, rows));
    }

    private static long LaneSumBytes(MatMulShape shape, int rows) => Align((long)rows / ActivationOrder.PanelRows * PanelLaneSums.Stride(shape) * sizeof(short));

    private const int Alignment = 64;

    private static long Align(long bytes) => (bytes + Alignment - 1) & -Alignment;
}
