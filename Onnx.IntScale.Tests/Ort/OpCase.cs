using Google.Protobuf;

namespace Onnx.IntScale.Tests;

/// <summary>
/// One <c>MatMulNBitsIntScale</c> node with weights from a seeded generator: the model that holds it, and what operator.md's formulas
/// give for it (<see cref="OpReference"/>). Fields may be changed before <see cref="Model"/> to break it.
/// </summary>
internal sealed class OpCase
{
    public int K { get; init; } = 96;

    public int N { get; init; } = 70;

    public int Bits { get; init; } = 4;

    public int BlockSize { get; init; } = 32;

    public ElementType Type { get; init; } = ElementType.Float;

    public bool WithZeroPoints { get; init; }

    public bool WithBias { get; init; }

    public int Seed { get; init; } = 1;

    /// <summary>Declared shape of A; null declares none. A string is a symbol, "" a dimension of which nothing is known.</summary>
    public object[]? AShape { get; init; } = ["batch", "sequence", 0L];

    /// <summary>The constant inputs by name: data type, dims, bytes.</summary>
    public Dictionary<string, (TensorProto.Types.DataType Type, long[] Dims, byte[] Data)> Constants { get; } = [];

    /// <summary>The node's int attributes.</summary>
    public Dictionary<string, long> Attributes { get; } = [];

    /// <summary>Name of the node, for messages.</summary>
    public const string NodeName = "/layer.3/mlp/down_proj/MatMul";

    public int KBlocks => (K + BlockSize - 1) / BlockSize;

    public int ElementSize => Type == ElementType.Float ? 4 : 2;

    /// <summary>Fills the weights.</summary>
    public OpCase Fill()
    {
        var random = new Random(Seed);
        var codes = new byte[N * KBlocks * BlockSize * Bits / 8];
        random.NextBytes(codes);
        var zeroPoints = new byte[N * (((KBlocks * Bits) + 7) / 8)];
        random.NextBytes(zeroPoints);
        var scales = new short[N * KBlocks];
        for (var i = 0; i < scales.Length; i++) scales[i] = (short)random.Next(-100, 101);
        var channelScales = new float[N];
        for (var n = 0; n < N; n++) channelScales[n] = (0.5f + random.NextSingle()) / 1024;

        Constants["B"] = (TensorProto.Types.DataType.Uint8, [N, KBlocks, BlockSize * Bits / 8], codes);
        Constants["scales"] = (TensorProto.Types.DataType.Int16, [N, KBlocks], Bytes(scales));
        Constants["channel_scales"] = (TensorProto.Types.DataType.Float, [N], Bytes(channelScales));
        if (WithZeroPoints) Constants["zero_points"] = (TensorProto.Types.DataType.Uint8, [N, ((KBlocks * Bits) + 7) / 8], zeroPoints);
        if (WithBias) Constants["bias"] = ((TensorProto.Types.DataType)Type, [N], RandomElements(random, N));
        Attributes["K"] = K;
        Attributes["N"] = N;
        Attributes["bits"] = Bits;
        Attributes["block_size"] = BlockSize;
        Attributes["amplifier"] = 0;
        Attributes["max_accumulator"] = OpReference.MaxAccumulator(this);
        return this;
    }

    /// <summary>Activations [m, K] in the case's element type; one row of zeros, one with a large outlier where m allows.</summary>
    public byte[] Activations(int m, int seed = 7)
    {
        var random = new Random(seed);
        var data = RandomElements(random, m * K);
        if (m > 2) Array.Clear(data, ElementSize * K, ElementSize * K);
        if (m > 3) WriteElement(data, (3 * K) + (K / 2), 300f);
        return data;
    }

    /// <summary>Element i of an array of the case's element type.</summary>
    public float ReadElement(byte[] data, int i) => Type switch
    {
        ElementType.Float => BitConverter.ToSingle(data, i * 4),
        ElementType.Float16 => (float)BitConverter.ToHalf(data, i * 2),
        _ => BitConverter.UInt32BitsToSingle((uint)BitConverter.ToUInt16(data, i * 2) << 16),
    };

    /// <summary>Writes element i, rounded to the case's element type (ties to even).</summary>
    public void WriteElement(byte[] data, int i, float value)
    {
        var target = data.AsSpan(i * ElementSize);
        if (Type == ElementType.Float) BitConverter.TryWriteBytes(target, value);
        else if (Type == ElementType.Float16) BitConverter.TryWriteBytes(target, (Half)value);
        else
        {
            var bits = BitConverter.SingleToUInt32Bits(value);
            BitConverter.TryWriteBytes(target, (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16));
        }
    }

    /// <summary>The model: A to Y, the constants as initializers unless named in <paramref name="asInputs"/>.</summary>
    public byte[] Model(params string[] asInputs)
    {
        var graph = new GraphProto { Name = "test" };
        graph.Input.Add(ValueInfo("A", (int)Type, AShape is null ? null : [.. AShape[..^1], AShape[^1] is 0L ? (long)K : AShape[^1]]));
        graph.Output.Add(ValueInfo("Y", (int)Type, null));
        var node = new NodeProto { Name = NodeName, OpType = "MatMulNBitsIntScale", Domain = "com.intscale", Output = { "Y" } };
        foreach (var name in (string[])["A", "B", "scales", "channel_scales", "zero_points", "bias"])
        {
            node.Input.Add(name == "A" || Constants.ContainsKey(name) ? name : "");
        }

        while (node.Input[^1].Length == 0) node.Input.RemoveAt(node.Input.Count - 1);
        foreach (var (name, value) in Attributes) node.Attribute.Add(new AttributeProto { Name = name, Type = AttributeProto.Types.AttributeType.Int, I = value });
        foreach (var (name, (type, dims, data)) in Constants)
        {
            if (asInputs.Contains(name)) graph.Input.Add(ValueInfo(name, (int)type, [.. dims.Cast<object>()]));
            else graph.Initializer.Add(new TensorProto { Name = name, DataType = (int)type, Dims = { dims }, RawData = ByteString.CopyFrom(data) });
        }

        graph.Node.Add(node);
        return new ModelProto
        {
            IrVersion = 8,
            Graph = graph,
            OpsetImport = { new OperatorSetIdProto { Domain = "", Version = 17 }, new OperatorSetIdProto { Domain = "com.intscale", Version = 1 } },
        }.ToByteArray();
    }

    public override string ToString() => $"K={K} N={N} bits={Bits} block={BlockSize} {Type}{(WithZeroPoints ? " zero_points" : "")}{(WithBias ? " bias" : "")}";

    public static byte[] Bytes<T>(T[] values)
        where T : unmanaged => System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan()).ToArray();

    private byte[] RandomElements(Random random, int count)
    {
        var data = new byte[count * ElementSize];
        for (var i = 0; i < count; i++) WriteElement(data, i, (random.NextSingle() * 4) - 2);
        return data;
    }

    private static ValueInfoProto ValueInfo(string name, int type, object[]? shape)
    {
        var tensor = new TypeProto.Types.Tensor { ElemType = type };
        if (shape is not null)
        {
            tensor.Shape = new TensorShapeProto();
            foreach (var dim in shape)
            {
                tensor.Shape.Dim.Add(dim switch
                {
                    string { Length: 0 } => new TensorShapeProto.Types.Dimension(),
                    string symbol => new TensorShapeProto.Types.Dimension { DimParam = symbol },
                    _ => new TensorShapeProto.Types.Dimension { DimValue = Convert.ToInt64(dim) },
                });
            }
        }

        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = tensor } };
    }
}
