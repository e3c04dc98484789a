namespace Onnx.IntScale;

/// <summary>Names of the operator <c>com.intscale::MatMulNBitsIntScale</c>, version 1, and the order of its inputs.</summary>
internal static class OpSchema
{
    /// <summary>Operator domain.</summary>
    public const string Domain = "com.intscale";

    /// <summary>Operator type.</summary>
    public const string OpType = "MatMulNBitsIntScale";

    /// <summary>Operator set version of <see cref="Domain"/>.</summary>
    public const int Version = 1;

    /// <summary>Domain and type, for messages.</summary>
    public const string FullName = Domain + "::" + OpType;

    /// <summary>Activations, T [..., K].</summary>
    public const int A = 0;

    /// <summary>Codes, uint8 [N, k_blocks, block_size * bits / 8], constant.</summary>
    public const int B = 1;

    /// <summary>Integer group scales, int16 [N, k_blocks], constant.</summary>
    public const int Scales = 2;

    /// <summary>Units of the integers, float [N], constant.</summary>
    public const int ChannelScales = 3;

    /// <summary>Zero points, uint8 [N, ceil(k_blocks * bits / 8)], constant, optional.</summary>
    public const int ZeroPoints = 4;

    /// <summary>Bias, T [N], optional.</summary>
    public const int Bias = 5;

    /// <summary>Number of inputs.</summary>
    public const int InputCount = 6;
}
