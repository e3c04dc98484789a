using Google.Protobuf;
using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Bench;

/// <summary>A case as a model of one node, A [M, K] → Y [M, N] for any M.</summary>
internal static class CheckModel
{
    public const string A = "A";
    public const string Y = "Y";

    /// <summary>The model, serialized.</summary>
    /// <param name="data">The case.</param>
    /// <param name="maxAccumulator">The attribute; null for none.</param>
    public static byte[] Of(CheckData data, long? maxAccumulator)
    {
        var shape = data.Case.Shape;
        var type = (DataType)data.Case.Type;
        var node = new NodeProto { Name = "node", OpType = Ops.MatMulNBitsIntScale, Domain = Ops.Domain, Output = { Y } };
        node.Attribute.Add([Ops.Attribute("K", shape.K), Ops.Attribute("N", shape.N), Ops.Attribute("bits", shape.Bits), Ops.Attribute("block_size", shape.BlockSize)]);
        if (maxAccumulator is { } claimed) node.Attribute.Add(Ops.Attribute("max_accumulator", claimed));
        var graph = new GraphProto { Name = "check", Node = { node }, Input = { Value(A, type, shape.K) }, Output = { Value(Y, type, shape.N) } };
        node.Input.Add(A);
        Add("B", DataType.Uint8, data.B, shape.N, shape.KBlocks, shape.BlockBytes);
        Add("scales", DataType.Int16, data.Scales, shape.N, shape.KBlocks);
        Add("channel_scales", DataType.Float, data.ChannelScales, shape.N);
        Add("zero_points", DataType.Uint8, data.ZeroPoints, shape.N, shape.ZeroPointRowBytes);
        Add("bias", type, data.Bias, shape.N);
        return new ModelProto
        {
            IrVersion = 8,
            OpsetImport = { new OperatorSetIdProto { Version = 17 }, new OperatorSetIdProto { Domain = Ops.Domain, Version = Ops.DomainVersion } },
            Graph = graph,
        }.ToByteArray();

        // An omitted optional input leaves its place empty.
        void Add(string name, DataType elements, TensorBuffer? values, params long[] dims)
        {
            node.Input.Add(values == null ? "" : name);
            if (values == null) return;
            var raw = ByteString.CopyFrom(values.Slice(0, checked((int)values.Length)));
            graph.Initializer.Add(new TensorProto { Name = name, DataType = (int)elements, Dims = { dims }, RawData = raw });
        }
    }

    private static ValueInfoProto Value(string name, DataType type, int columns) => new()
    {
        Name = name,
        Type = new TypeProto
        {
            TensorType = new TypeProto.Types.Tensor
            {
                ElemType = (int)type,
                Shape = new TensorShapeProto { Dim = { new TensorShapeProto.Types.Dimension { DimParam = "M" }, new TensorShapeProto.Types.Dimension { DimValue = columns } } },
            },
        },
    };
}
