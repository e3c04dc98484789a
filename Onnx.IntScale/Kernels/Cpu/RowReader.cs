namespace Onnx.IntScale;

/// <summary>
/// Rows of B and of its scales for kernels that read whole vectors. Past the end of a row lies the next one, which meets zero
/// activations and does no harm; past the end of the tensor lies nobody's memory, so the last rows are read from a copy.
/// </summary>
internal readonly unsafe ref struct RowReader
{
    /// <summary>What a kernel may read past a row: bytes of B, and scales.</summary>
    public const int Slack = 64;

    /// <summary>Rows of this size and more would need a copy too large for the stack; the scalar kernel takes them.</summary>
    private const int MaxCopy = 1 << 16;

    private readonly WeightView _weights;
    private readonly byte* _copy;

    /// <summary>Reads rows of these weights, using a buffer of <see cref="CopyBytes"/>.</summary>
    public RowReader(in WeightView weights, byte* copy)
    {
        _weights = weights;
        _copy = copy;
    }

    /// <summary>Bytes of the buffer for the last rows.</summary>
    public static int CopyBytes(MatMulShape shape) => shape.RowBytes + Slack + ((shape.KBlocks + Slack) * sizeof(short));

    /// <summary>Whether a matrix' last rows are too long to copy.</summary>
    public static bool IsTooLong(MatMulShape shape) => CopyBytes(shape) > MaxCopy;

    /// <summary>Whether row n can be read in place.</summary>
    public bool IsPlain(int n) =>
        Math.Min((long)_weights.Shape.RowBytes, _weights.Shape.KBlocks) * (_weights.Shape.N - 1 - n) >= Slack;

    /// <summary>Row n of B and its scales, readable <see cref="Slack"/> further than they are long.</summary>
    public void Row(int n, out byte* b, out short* scales)
    {
        var shape = _weights.Shape;
        b = _weights.Block(n, 0);
        scales = _weights.ScalesOf(n);
        if (IsPlain(n)) return;

        Buffer.MemoryCopy(b, _copy, shape.RowBytes, shape.RowBytes);
        new Span<byte>(_copy + shape.RowBytes, Slack).Clear();
        var copiedScales = (short*)(_copy + shape.RowBytes + Slack);
        Buffer.MemoryCopy(scales, copiedScales, shape.KBlocks * sizeof(short), shape.KBlocks * sizeof(short));
        new Span<short>(copiedScales + shape.KBlocks, Slack).Clear();
        b = _copy;
        scales = copiedScales;
    }
}
