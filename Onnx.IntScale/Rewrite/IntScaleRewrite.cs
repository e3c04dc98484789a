using System.Runtime.InteropServices;
using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale;

/// <summary>
/// One layer's part of the patch:
/// <code>
/// MatMul(A, W)  →  com.intscale::MatMulNBitsIntScale(A, W_B, W_scales, W_channel_scales)
/// </code>
/// Node name, doc string, metadata and output names stay.
/// </summary>
public static class IntScaleRewrite
{
    /// <summary>The new node for a layer whose quantized weight lies in the given initializers.</summary>
    public static NodeProto Node(LinearLayer layer, WeightSummary weight, IReadOnlyList<TensorProto> initializers)
    {
        var node = layer.Node.Clone();
        node.OpType = Ops.MatMulNBitsIntScale;
        node.Domain = Ops.Domain;
        node.Input.RemoveAt(1);
        node.Input.AddRange(initializers.Select(i => i.Name));
        node.Attribute.Add(
        [
            Ops.Attribute("K", weight.Shape.K),
            Ops.Attribute("N", weight.Shape.N),
            Ops.Attribute("bits", weight.Shape.Bits),
            Ops.Attribute("block_size", weight.Shape.BlockSize),
            Ops.Attribute("amplifier", weight.Amplifier),
            Ops.Attribute("max_accumulator", weight.MaxAccumulator),
        ]);
        return node;
    }

    /// <summary>Writes a quantized weight's tensors and returns the initializers B, scales, channel_scales.</summary>
    public static IReadOnlyList<TensorProto> Write(ModelWriter writer, QuantizedWeight weight, string name, GraphIndex index)
    {
        var (n, blocks) = (weight.Summary.Shape.N, weight.Summary.Shape.KBlocks);
        var stem = FreeStem(name, weight.Summary.Shape.Bits, index);
        return
        [
            writer.Append(stem + "_B", DataType.Uint8, [n, blocks, weight.Summary.Shape.BlockBytes], weight.B),
            writer.Append(stem + "_scales", DataType.Int16, [n, blocks], MemoryMarshal.AsBytes<short>(weight.Scales)),
            writer.Append(stem + "_channel_scales", DataType.Float, [n], MemoryMarshal.AsBytes<float>(weight.ChannelScales)),
        ];
    }

    private static string FreeStem(string name, int bits, GraphIndex index)
    {
        var stem = $"{name}_q{bits}";
        for (var i = 1; new[] { "_B", "_scales", "_channel_scales" }.Any(suffix => index.IsTaken(stem + suffix)); i++) stem = $"{name}_q{bits}_{i}";
        return stem;
    }
}
