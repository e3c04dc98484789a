using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale;

/// <summary>A <c>MatMulNBitsIntScale</c> node of a converted model, read back from its graph.</summary>
/// <param name="Name">Node name.</param>
/// <param name="Node">The node.</param>
/// <param name="Shape">K, N, bits, block_size, from its attributes.</param>
/// <param name="MaxAccumulator">The certificate that it carries, or null.</param>
public sealed record IntScaleNode(string Name, NodeProto Node, MatMulShape Shape, long? MaxAccumulator)
{
    private static readonly string[] InputNames = ["A", "B", "scales", "channel_scales", "zero_points", "bias"];

    /// <summary>The operator's nodes in the top graph, in graph order.</summary>
    /// <exception cref="ModelException">A node lacks an attribute or has one that the operator does not take.</exception>
    public static IReadOnlyList<IntScaleNode> Find(ModelFile model) =>
        model.Proto.Graph.Node.Where(Ops.IsIntScale).Select(node =>
        {
            var where = $"{model.ModelPath}: node '{Ops.NameOf(node)}'";
            int Small(string name, long? missing = null) => (Ops.Int(node, name) ?? missing) switch
            {
                null => throw new ModelException(where, $"attribute {name} is missing", "convert the model again"),
                // Below this, K rounded up to whole blocks is an int too.
                >= 0 and <= int.MaxValue - 256 and var value => (int)value,
                var value => throw new ModelException(where, $"attribute {name} is {value}, which is out of range", "convert the model again"),
            };
            if (node.Output.Count == 0) throw new ModelException(where, "has no output", "convert the model again");
            var shape = new MatMulShape(Small("K"), Small("N"), Small("bits", 4), Small("block_size"));
            if (shape.Fault() is { } fault) throw new ModelException(where, fault);
            return new IntScaleNode(Ops.NameOf(node), node, shape, Ops.Int(node, "max_accumulator"));
        }).ToList();

    /// <summary>Reads the node's weights from the model's initializers.</summary>
    /// <exception cref="ModelException">An input is missing, not an initializer, or has the wrong type or size.</exception>
    public IntScaleWeights Load(ModelFile model, GraphIndex index) => new(
        Shape,
        Input(model, index, OpSchema.B, DataType.Uint8, (long)Shape.N * Shape.RowBytes)!,
        Input(model, index, OpSchema.Scales, DataType.Int16, (long)Shape.N * Shape.KBlocks)!,
        Input(model, index, OpSchema.ChannelScales, DataType.Float, Shape.N)!,
        Input(model, index, OpSchema.ZeroPoints, DataType.Uint8, (long)Shape.N * Shape.ZeroPointRowBytes, optional: true));

    /// <summary>Reads the node's bias, or null where it has none.</summary>
    /// <param name="model">The node's model.</param>
    /// <param name="index">Its graph.</param>
    /// <param name="type">Type of the activations, which the bias has too.</param>
    /// <exception cref="ModelException">It is not an initializer of that type.</exception>
    internal TensorBuffer? LoadBias(ModelFile model, GraphIndex index, ElementType type) =>
        Input(model, index, OpSchema.Bias, (DataType)type, Shape.N, optional: true);

    private TensorBuffer? Input(ModelFile model, GraphIndex index, int position, DataType type, long count, bool optional = false)
    {
        var name = position < Node.Input.Count ? Node.Input[position] : "";
        if (name.Length == 0 && optional) return null;
        var where = $"{model.ModelPath}: node '{Name}', input {InputNames[position]}";
        var tensor = index.Initializer(name) ?? throw new ModelException(where, $"'{name}' is not an initializer", "the weights must be constant; convert the model again");
        model.Check(tensor);
        if (tensor.DataType != (int)type || TensorTypes.CountOf(tensor) != count)
            throw new ModelException(where, $"is {TensorTypes.Describe(tensor)}; expected {count} elements of {type.ToString().ToLowerInvariant()}", "convert the model again");
        return model.Read(tensor);
    }
}

/// <summary>A node's weights in memory.</summary>
public sealed unsafe class IntScaleWeights : IDisposable
{
    private readonly TensorBuffer _b;
    private readonly TensorBuffer _scales;
    private readonly TensorBuffer _channelScales;
    private readonly TensorBuffer? _zeroPoints;

    internal IntScaleWeights(MatMulShape shape, TensorBuffer b, TensorBuffer scales, TensorBuffer channelScales, TensorBuffer? zeroPoints) =>
        (Shape, _b, _scales, _channelScales, _zeroPoints) = (shape, b, scales, channelScales, zeroPoints);

    /// <summary>K, N, bits, block_size.</summary>
    public MatMulShape Shape { get; }

    /// <summary>Pointers for the kernels; valid until disposed.</summary>
    public WeightView View => new(Shape, _b.Data, (short*)_scales.Data, (float*)_channelScales.Data, _zeroPoints == null ? null : _zeroPoints.Data);

    /// <inheritdoc/>
    public void Dispose()
    {
        _b.Dispose();
        _scales.Dispose();
        _channelScales.Dispose();
        _zeroPoints?.Dispose();
    }
}
