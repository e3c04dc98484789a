using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Bench;

/// <summary>How a model keeps its linear layers.</summary>
internal enum WeightForm
{
    /// <summary>MatMul with the weights in the activations' type.</summary>
    Float,

    /// <summary>com.microsoft::MatMulNBits, accuracy_level 4, 4 bits.</summary>
    MatMulNBits4,

    /// <summary>com.intscale::MatMulNBitsIntScale, 4 bits.</summary>
    IntScale4,
}

/// <summary>
/// Writes one linear layer in any form. The two quantized ones have the same codes, and MatMulNBits' scales are the products of our
/// integers and channel scales, so both multiply by the same weights (up to the rounding of scales to float16 where activations are).
/// </summary>
internal static class LinearForm
{
    private const int AccuracyLevel = 4;

    private static readonly GraphIndex NoNames = new(new GraphProto());

    /// <summary>Writes a layer's tensors and adds its node and initializers to the graph.</summary>
    /// <param name="graph">Where to.</param>
    /// <param name="writer">Gets the tensors.</param>
    /// <param name="matMul">The layer as a MatMul; its second input names the weight.</param>
    /// <param name="weight">The weight [K, N] in float16.</param>
    /// <param name="k">Input features.</param>
    /// <param name="n">Output channels.</param>
    /// <param name="form">How to keep it.</param>
    /// <param name="type">Type of the activations.</param>
    public static void Write(GraphProto graph, ModelWriter writer, NodeProto matMul, TensorBuffer weight, int k, int n, WeightForm form, ElementType type)
    {
        if (form == WeightForm.Float)
        {
            graph.Node.Add(matMul);
            graph.Initializer.Add(FloatTensor(writer, matMul.Input[1], [k, n], weight, type));
            return;
        }

        Write(graph, writer, matMul, WeightQuantizer.Quantize(new WeightMatrix(weight, ElementType.Float16, k, n, transposed: false), new QuantizeOptions()), form, type);
    }

    /// <summary>Likewise for a weight set, whose float form are the very weights that the quantized ones stand for.</summary>
    public static void Write(GraphProto graph, ModelWriter writer, NodeProto matMul, WeightSet weight, WeightForm form, ElementType type)
    {
        if (form != WeightForm.Float)
        {
            Write(graph, writer, matMul, weight.Quantized(), form, type);
            return;
        }

        using var halves = HalfWeights.Dequantized(weight);
        Write(graph, writer, matMul, halves, weight.Shape.K, weight.Shape.N, form, type);
    }

    private static void Write(GraphProto graph, ModelWriter writer, NodeProto matMul, QuantizedWeight quantized, WeightForm form, ElementType type)
    {
        var (name, shape, n) = (matMul.Input[1], quantized.Summary.Shape, quantized.Summary.Shape.N);
        if (form == WeightForm.IntScale4)
        {
            var initializers = IntScaleRewrite.Write(writer, quantized, name, NoNames);
            var layer = new LinearLayer(matMul.Name, matMul, new WeightSource(initializers[0], false, name), shape.K, n, type);
            graph.Node.Add(IntScaleRewrite.Node(layer, quantized.Summary, initializers));
            graph.Initializer.Add(initializers);
            return;
        }

        TensorProto[] nBits =
        [
            writer.Append(name + "_Q4", DataType.Uint8, [n, shape.KBlocks, shape.BlockBytes], quantized.B),
            Scales(writer, name + "_scales", shape, quantized.Scales, quantized.ChannelScales, type),
        ];
        graph.Node.Add(NBitsNode(matMul, shape, [nBits[0].Name, nBits[1].Name]));
        graph.Initializer.Add(nBits);
    }

    /// <summary>MatMulNBits in the place of another node: same name, activations and output.</summary>
    public static NodeProto NBitsNode(NodeProto from, MatMulShape shape, string[] weights) => new()
    {
        Name = from.Name,
        OpType = "MatMulNBits",
        Domain = Ops.MicrosoftDomain,
        Input = { from.Input[0], weights },
        Output = { from.Output },
        Attribute =
        {
            Ops.Attribute("K", shape.K),
            Ops.Attribute("N", shape.N),
            Ops.Attribute("bits", shape.Bits),
            Ops.Attribute("block_size", shape.BlockSize),
            Ops.Attribute("accuracy_level", AccuracyLevel),
        },
    };

    /// <summary>MatMulNBits' scales: integers · channel scales, in the activations' type.</summary>
    public static TensorProto Scales(ModelWriter writer, string name, MatMulShape shape, ReadOnlySpan<short> scales, ReadOnlySpan<float> channelScales, ElementType type)
    {
        var floats = new float[scales.Length];
        for (var i = 0; i < floats.Length; i++) floats[i] = scales[i] * channelScales[i / shape.KBlocks];
        long[] dims = [shape.N, shape.KBlocks];
        if (type == ElementType.Float) return writer.Append(name, DataType.Float, dims, MemoryMarshal.AsBytes(floats.AsSpan()));
        var halves = new Half[floats.Length];
        TensorPrimitives.ConvertToHalf(floats, halves);
        return writer.Append(name, DataType.Float16, dims, MemoryMarshal.AsBytes(halves.AsSpan()));
    }

    /// <summary>A float16 tensor, as it is or widened to float.</summary>
    public static TensorProto FloatTensor(ModelWriter writer, string name, long[] dims, TensorBuffer halves, ElementType type)
    {
        var raw = halves.Slice(0, checked((int)halves.Length));
        if (type == ElementType.Float16) return writer.Append(name, DataType.Float16, dims, raw);
        using var floats = new TensorBuffer(halves.Length * 2);
        var wide = floats.Slice(0, checked((int)floats.Length));
        TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<byte, Half>(raw), MemoryMarshal.Cast<byte, float>(wide));
        return writer.Append(name, DataType.Float, dims, wide);
    }
}
