namespace Onnx.IntScale;

/// <summary>Element type (numbered as TensorProto.DataType) and dimensions of a tensor, where the tensor keeps them.</summary>
internal readonly unsafe struct TensorShape(int type, long* dims, int rank)
{
    public int Type { get; } = type;

    public long* Dims { get; } = dims;

    public int Rank { get; } = rank;

    public bool Is(ReadOnlySpan<long> expected) => new ReadOnlySpan<long>(Dims, Rank).SequenceEqual(expected);

    public override string ToString() => $"[{string.Join(", ", new ReadOnlySpan<long>(Dims, Rank).ToArray())}]";
}
