using System.Text;

namespace Onnx.IntScale;

/// <summary>
/// A node's attributes and constant inputs, read and checked once, when ORT creates the kernel. Nothing is copied: the view points
/// into ORT's initializers, in the memory of the node's device, which the session keeps for as long as it has the kernel.
/// </summary>
internal static unsafe class KernelWeights
{
    private const int UInt8 = 2;
    private const int Int16 = 5;

    /// <summary>The remedy for most faults of a model.</summary>
    public const string ConvertAgain = "convert the model again";

    /// <summary>
    /// Reads the weights of a node and checks their types and shapes. Values are not looked at: on a GPU they lie where the host cannot read.
    /// </summary>
    /// <exception cref="NodeFaultException">The model is at fault; the message lacks the node's name.</exception>
    public static WeightView Read(OrtApi api, void* info)
    {
        var shape = ReadShape(api, info);
        return new WeightView(
            shape,
            (byte*)Constant(api, info, OpSchema.B, "B", UInt8, [shape.N, shape.KBlocks, shape.BlockBytes]),
            (short*)Constant(api, info, OpSchema.Scales, "scales", Int16, [shape.N, shape.KBlocks]),
            (float*)Constant(api, info, OpSchema.ChannelScales, "channel_scales", (int)ElementType.Float, [shape.N]),
            api.HasInput(info, OpSchema.ZeroPoints)
                ? (byte*)Constant(api, info, OpSchema.ZeroPoints, "zero_points", UInt8, [shape.N, shape.ZeroPointRowBytes])
                : null);
    }

    /// <summary>The certificate that the node claims, or null where it claims none.</summary>
    public static long? Claimed(OrtApi api, void* info) => api.IntAttribute(info, "max_accumulator"u8);

    private static MatMulShape ReadShape(OrtApi api, void* info)
    {
        int Attribute(string name, long? absent = null) => ReadAttribute(api, info, name, absent);
        var shape = new MatMulShape(Attribute("K"), Attribute("N"), Attribute("bits", 4), Attribute("block_size"));
        if (shape.Fault() is { } fault) throw new NodeFaultException(fault);
        if (api.IntAttribute(info, "amplifier"u8) is < 0 and var amplifier)
            throw new NodeFaultException($"amplifier={amplifier} must be positive, or 0 where channel_scales are chosen per channel; {ConvertAgain}");
        return shape;
    }

    /// <summary>An attribute; bits may be absent, as in MatMulNBits.</summary>
    private static int ReadAttribute(OrtApi api, void* info, string name, long? absent)
    {
        var value = api.IntAttribute(info, Encoding.UTF8.GetBytes(name + '\0')) ?? absent
            ?? throw new NodeFaultException($"the int attribute {name} is missing; add it, or {ConvertAgain}");
        return value is >= int.MinValue and <= int.MaxValue ? (int)value : throw new NodeFaultException($"{name}={value} is out of range");
    }

    private static void* Constant(OrtApi api, void* info, int index, string name, int type, ReadOnlySpan<long> dims)
    {
        var value = api.ConstantInput(info, index);
        if (value == null)
        {
            throw new NodeFaultException(
                $"{name} is not a constant initializer of the node's own graph; make it one (an initializer that is also a graph input is not constant), "
                + "or let ONNX Runtime fold what computes it");
        }

        var shape = api.Shape(value);
        // ORT picks kernels by type, so the type can only differ where a host bypasses its checks.
        if (shape.Type != type) throw new NodeFaultException($"{name} has element type {shape.Type}, expected {type} (TensorProto.DataType); {ConvertAgain}");
        if (!shape.Is(dims))
        {
            var expected = string.Join(", ", dims.ToArray());
            throw new NodeFaultException($"{name} has shape {shape}, but K, N, bits and block_size ask for [{expected}]; {ConvertAgain}");
        }

        return api.Data(value);
    }

    /// <summary>Refuses scales that are not finite.</summary>
    public static void CheckChannelScales(ReadOnlySpan<float> scales)
    {
        for (var n = 0; n < scales.Length; n++)
        {
            if (!float.IsFinite(scales[n])) throw new NodeFaultException($"channel_scales[{n}] is {scales[n]}, which is not finite; {ConvertAgain} from finite weights");
        }
    }

    /// <summary>
    /// The sums must fit int32 whatever the activations, so the certificate is computed from the weights at hand and not believed.
    /// A node may lack the attribute: then the weights alone decide.
    /// </summary>
    /// <param name="compute">Computes what the weights give.</param>
    /// <param name="claimed">What the node says.</param>
    /// <returns>What the weights give.</returns>
    public static long CheckCertificate(Func<long> compute, long? claimed)
    {
        const string Remedy = ConvertAgain + " with a lower --max-accumulator";
        const long Limit = Certificate.Int32Limit;
        if (claimed > Limit) throw new NodeFaultException($"max_accumulator={claimed} does not fit int32 (at most {Limit}); {Remedy}");
        var actual = compute();
        if (actual > Limit) throw new NodeFaultException($"the weights' accumulator can reach {actual}, which does not fit int32 (at most {Limit}); {Remedy}");
        if (actual > claimed)
        {
            throw new NodeFaultException(
                $"max_accumulator={claimed}, but the weights' accumulator can reach {actual}: the certificate is not of these weights; {ConvertAgain}");
        }

        return actual;
    }
}
