using System.Runtime.InteropServices;
using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Bench;

/// <summary>
/// A model of independent nodes, as a model has many layers: A [M, K] float16 → Y0 ... [M, N] float16, one for each weight set.
/// Weights lie in a file beside it, so that they may pass 2 GB and are mapped when the model is loaded.
/// </summary>
internal static class NodesModel
{
    /// <summary>Name of the input.</summary>
    public const string A = "A";

    /// <summary>Name of output i.</summary>
    public static string Y(int i) => $"Y{i}";

    /// <summary>Writes the model of one form.</summary>
    public static void Write(string path, NodeForm form, IReadOnlyList<WeightSet> sets)
    {
        using var writer = new ModelWriter(path);
        var (k, n) = (sets[0].Shape.K, sets[0].Shape.N);
        var graph = new GraphProto { Name = "bench", Input = { Value(A, k) } };
        for (var i = 0; i < sets.Count; i++)
        {
            var matMul = new NodeProto { Name = $"node{i}", OpType = "MatMul", Input = { A, $"B{i}" }, Output = { Y(i) } };
            var (node, initializers) = form switch
            {
                NodeForm.MatMul => MatMul(writer, matMul, sets[i]),
                NodeForm.MatMulNBits => MatMulNBits(writer, matMul, sets[i]),
                _ => IntScale(writer, matMul, sets[i]),
            };
            graph.Node.Add(node);
            graph.Initializer.Add(initializers);
            graph.Output.Add(Value(Y(i), n));
        }

        writer.Commit(new ModelProto
        {
            IrVersion = 10,
            OpsetImport =
            {
                new OperatorSetIdProto { Version = 18 },
                new OperatorSetIdProto { Domain = Ops.MicrosoftDomain, Version = 1 },
                new OperatorSetIdProto { Domain = Ops.Domain, Version = Ops.DomainVersion },
            },
            Graph = graph,
        });
    }

    /// <summary>A model that copies A to Y0, to bring float16 matrices to the device and back.</summary>
    public static ModelProto Copy() => new()
    {
        IrVersion = 10,
        OpsetImport = { new OperatorSetIdProto { Version = 18 } },
        Graph = new GraphProto
        {
            Name = "copy",
            Node = { new NodeProto { Name = "copy", OpType = "Identity", Input = { A }, Output = { Y(0) } } },
            Input = { Value(A, "columns") },
            Output = { Value(Y(0), "columns") },
        },
    };

    private static (NodeProto Node, TensorProto[] Initializers) MatMul(ModelWriter writer, NodeProto matMul, WeightSet set)
    {
        using var weights = HalfWeights.Dequantized(set);
        return (matMul, [LinearForm.FloatTensor(writer, matMul.Input[1], [set.Shape.K, set.Shape.N], weights, ElementType.Float16)]);
    }

    private static (NodeProto Node, TensorProto[] Initializers) MatMulNBits(ModelWriter writer, NodeProto matMul, WeightSet set)
    {
        var (name, shape) = (matMul.Input[1], set.Shape);
        TensorProto[] initializers =
        [
            writer.Append(name, DataType.Uint8, [shape.N, shape.KBlocks, shape.BlockBytes], set.B),
            writer.Append($"{name}_scales", DataType.Float16, [shape.N, shape.KBlocks], MemoryMarshal.AsBytes(HalfWeights.Scales(set).AsSpan())),
        ];
        return (LinearForm.NBitsNode(matMul, shape, [.. initializers.Select(t => t.Name)]), initializers);
    }

    private static (NodeProto Node, TensorProto[] Initializers) IntScale(ModelWriter writer, NodeProto matMul, WeightSet set)
    {
        var name = matMul.Input[1];
        var weight = set.Quantized();
        var initializers = IntScaleRewrite.Write(writer, weight, name, new GraphIndex(new GraphProto()));
        var layer = new LinearLayer(matMul.Name, matMul, new WeightSource(initializers[0], false, name), set.Shape.K, set.Shape.N, ElementType.Float16);
        return (IntScaleRewrite.Node(layer, weight.Summary, initializers), [.. initializers]);
    }

    private static ValueInfoProto Value(string name, object columns) => new()
    {
        Name = name,
        Type = new TypeProto
        {
            TensorType = new TypeProto.Types.Tensor
            {
                ElemType = (int)DataType.Float16,
                Shape = new TensorShapeProto
                {
                    Dim =
                    {
                        new TensorShapeProto.Types.Dimension { DimParam = "M" },
                        columns is int size ? new TensorShapeProto.Types.Dimension { DimValue = size } : new TensorShapeProto.Types.Dimension { DimParam = (string)columns },
                    },
                },
            },
        },
    };
}
