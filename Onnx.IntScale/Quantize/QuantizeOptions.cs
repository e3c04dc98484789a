namespace Onnx.IntScale;

/// <summary>How a block's float scale is chosen.</summary>
public enum ScaleMethod
{
    /// <summary>The scale that gives each block the least squared weight error (clip search).</summary>
    Mse,

    /// <summary>Round to nearest: the block's extreme maps to -2^(bits-1).</summary>
    Rtn,
}

/// <summary>How the units of the integer scales are chosen.</summary>
public enum AmplifierKind
{
    /// <summary>Per output channel, the largest that the accumulator limit and int16 allow; where the largest scale is 127 or less, the one of least weight error.</summary>
    PerChannel,

    /// <summary>One number for all.</summary>
    Fixed,

    /// <summary>The Integer Scale paper's heuristic: per matrix, the smallest 2^i with min|s| · 2^i ≥ 1.</summary>
    Paper,
}

/// <summary>The amplifier option: <c>auto</c>, an integer, or <c>paper</c>.</summary>
/// <param name="Kind">Which.</param>
/// <param name="Value">The number, for <see cref="AmplifierKind.Fixed"/>.</param>
public readonly record struct Amplifier(AmplifierKind Kind, int Value = 0)
{
    /// <summary>Parses "auto", "paper" or a positive integer.</summary>
    /// <exception cref="ArgumentException">Anything else.</exception>
    public static Amplifier Parse(string text) => text switch
    {
        "auto" => new(AmplifierKind.PerChannel),
        "paper" => new(AmplifierKind.Paper),
        _ when int.TryParse(text, out var value) && value > 0 => new(AmplifierKind.Fixed, value),
        _ => throw new ArgumentException($"amplifier '{text}' is none of: auto, paper, a positive integer such as 1024"),
    };
}

/// <summary>Options of the quantizer.</summary>
public sealed record QuantizeOptions
{
    /// <summary>Bits of a weight code: 4 or 8.</summary>
    public int Bits { get; init; } = 4;

    /// <summary>Consecutive k that share a scale: 16, 32, 64, 128 or 256.</summary>
    public int BlockSize { get; init; } = 128;

    /// <summary>How float scales are chosen.</summary>
    public ScaleMethod Method { get; init; } = ScaleMethod.Mse;

    /// <summary>Units of the integer scales.</summary>
    public Amplifier Amplifier { get; init; } = new(AmplifierKind.PerChannel);

    /// <summary>Limit of the overflow certificate, at most 2^31 - 1; null for <see cref="Limit"/>'s default.</summary>
    public long? MaxAccumulator { get; init; }

    /// <summary>
    /// The largest |scale| allowed, 1 to 32767. At most <see cref="Certificate.LargestInt8Scale"/>, 4-bit codes times their scale fit int8, and
    /// kernels for Hopper are faster; what that costs is in benchmarks/cuda.md.
    /// </summary>
    public int LargestScale { get; init; } = short.MaxValue;

    /// <summary>
    /// The limit in force. By default 2^27 - 1 for 4 bits, which leaves kernels room to unpack int4 as 16·q, and all of int32 for
    /// 8 bits, which need no unpacking and whose sums are 16 times as large.
    /// </summary>
    public long Limit => MaxAccumulator ?? (Bits == 4 ? Certificate.DefaultLimit : Certificate.Int32Limit);

    /// <summary>Says which option is wrong and what it may be, or null.</summary>
    public string? Fault() => this switch
    {
        _ when new MatMulShape(1, 1, Bits, BlockSize).Fault() is { } fault => fault,
        { Limit: < 1 << 16 or > Certificate.Int32Limit } => $"max_accumulator={Limit} must lie between 65536 and {Certificate.Int32Limit} (2^31 - 1)",
        { LargestScale: < 1 or > short.MaxValue } => $"largest_scale={LargestScale} must lie between 1 and {short.MaxValue}",
        { Amplifier: { Kind: AmplifierKind.Fixed, Value: <= 0 } } => $"amplifier={Amplifier.Value} must be positive",
        _ => null,
    };
}
