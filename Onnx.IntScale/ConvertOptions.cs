namespace Onnx.IntScale;

/// <summary>Options of a conversion.</summary>
public sealed record ConvertOptions
{
    /// <summary>How weights are quantized.</summary>
    public QuantizeOptions Quantize { get; init; } = new();

    /// <summary>Globs (* and ?) of node names to rewrite; none means all.</summary>
    public IReadOnlyList<string> Include { get; init; } = [];

    /// <summary>Globs of node names to leave alone.</summary>
    public IReadOnlyList<string> Exclude { get; init; } = [];

    /// <summary>Whether an existing output may be replaced.</summary>
    public bool Force { get; init; }
}
