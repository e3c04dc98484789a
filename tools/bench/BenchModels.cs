using System.Runtime.InteropServices;
using Google.Protobuf;
using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Bench;

/// <summary>Models of a single node, serialized: A [M, K] float32 → Y [M, N] float32, the weights as initializers.</summary>
internal static class BenchModels
{
    /// <summary>Name of the input of every model.</summary>
    public const string A = "A";

    /// <summary>Name of the output of every model.</summary>
    public const string Y = "Y";

    /// <summary>Our operator.</summary>
    public static byte[] IntScale(WeightSet w)
    {
        var node = Quantized(w, Ops.MatMulNBitsIntScale, Ops.Domain, [A, "B", "scales", "channel_scales"]);
        node.Attribute.Add([Ops.Attribute("amplifier", 0), Ops.Attribute("max_accumulator", w.MaxAccumulator)]);
        return Model(w.Shape.K, w.Shape.N, node,
            Codes(w),
            Tensor("scales", DataType.Int16, MemoryMarshal.AsBytes(w.Scales.AsSpan()).ToArray(), w.Shape.N, w.Shape.KBlocks),
            Tensor("channel_scales", DataType.Float, MemoryMarshal.AsBytes(w.ChannelScales.AsSpan()).ToArray(), w.Shape.N));
    }

    /// <summary>ONNX Runtime's operator: level 4 quantizes the activations to int8 too, level 0 computes in float32.</summary>
    public static byte[] MatMulNBits(WeightSet w, int accuracyLevel)
    {
        var node = Quantized(w, "MatMulNBits", Ops.MicrosoftDomain, [A, "B", "scales"]);
        node.Attribute.Add(Ops.Attribute("accuracy_level", accuracyLevel));
        return Model(w.Shape.K, w.Shape.N, node, Codes(w), Tensor("scales", DataType.Float, w.FloatScales(), w.Shape.N, w.Shape.KBlocks));
    }

    /// <summary>The float product of the dequantized weights.</summary>
    public static byte[] MatMul(WeightSet w) =>
        Model(w.Shape.K, w.Shape.N, Node("MatMul", "", [A, "B"]), Tensor("B", DataType.Float, w.Dequantized(), w.Shape.K, w.Shape.N));

    /// <summary>Nothing, [M, 1] → [M, 1]: what a Run costs by itself.</summary>
    public static byte[] Identity() => Model(1, 1, Node("Identity", "", [A]));

    private static NodeProto Quantized(WeightSet w, string type, string domain, string[] inputs)
    {
        var node = Node(type, domain, inputs);
        node.Attribute.Add([Ops.Attribute("K", w.Shape.K), Ops.Attribute("N", w.Shape.N), Ops.Attribute("bits", w.Shape.Bits), Ops.Attribute("block_size", w.Shape.BlockSize)]);
        return node;
    }

    private static NodeProto Node(string type, string domain, string[] inputs) =>
        new() { Name = type, OpType = type, Domain = domain, Input = { inputs }, Output = { Y } };

    private static TensorProto Codes(WeightSet w) => Tensor("B", DataType.Uint8, w.B, w.Shape.N, w.Shape.KBlocks, w.Shape.BlockBytes);

    /// <summary>The array is not copied here.</summary>
    private static TensorProto Tensor(string name, DataType type, byte[] raw, params long[] dims) =>
        new() { Name = name, DataType = (int)type, Dims = { dims }, RawData = UnsafeByteOperations.UnsafeWrap(raw) };

    private static byte[] Model(int k, int n, NodeProto node, params TensorProto[] initializers) => new ModelProto
    {
        IrVersion = 8,
        OpsetImport =
        {
            new OperatorSetIdProto { Version = 17 },
            new OperatorSetIdProto { Domain = Ops.MicrosoftDomain, Version = 1 },
            new OperatorSetIdProto { Domain = Ops.Domain, Version = Ops.DomainVersion },
        },
        Graph = new GraphProto { Name = "bench", Node = { node }, Initializer = { initializers }, Input = { Value(A, k) }, Output = { Value(Y, n) } },
    }.ToByteArray();

    private static ValueInfoProto Value(string name, int columns) => new()
    {
        Name = name,
        Type = new TypeProto
        {
            TensorType = new TypeProto.Types.Tensor
            {
                ElemType = (int)DataType.Float,
                Shape = new TensorShapeProto
                {
                    Dim =
                    {
                        new TensorShapeProto.Types.Dimension { DimParam = "M" },
                        new TensorShapeProto.Types.Dimension { DimValue = columns },
                    },
                },
            },
        },
    };
}
