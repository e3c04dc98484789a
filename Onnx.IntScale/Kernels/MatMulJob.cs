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

    /// <summary>Scratch: int8 activations [M, PaddedK] in the kernels' order of k (see <see cref="ActivationOrder"/>), zero-padded.</summary>
    public sbyte* A8;

    /// <summary>Scratch: sum of A8 over each block [M, KBlocks]; what a zero point is multiplied by.</summary>
    public int* BlockSums;

    /// <summary>Scratch: a_scale of each row [M].</summary>
    public float* AScales;

    /// <summary>Bytes of scratch that a call with M rows needs.</summary>
    public static long ScratchBytes(MatMulShape shape, int m) =>
        Align((long)m * shape.PaddedK) + Align((long)m * shape.KBlocks * sizeof(int)) + Align((long)m * sizeof(float));

    /// <summary>Lays the three scratch arrays out in memory of at least <see cref="ScratchBytes"/> bytes, best 64-byte aligned.</summary>
    public void UseScratch(byte* scratch)
    {
        A8 = (sbyte*)scratch;
        BlockSums = (int*)(scratch + Align((long)M * Weights.Shape.PaddedK));
        AScales = (float*)((byte*)BlockSums + Align((long)M * Weights.Shape.KBlocks * sizeof(int)));
    }

    private static long Align(long bytes) => (bytes + 63) & ~63L;
}
