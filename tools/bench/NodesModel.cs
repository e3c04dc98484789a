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

    /// <summary>Writes the model of an operator.</summary>
    public static void Write(string path, CudaOperator op, IReadOnlyList<WeightSet> sets)
    {
        using var writer = new ModelWriter(path) { Flush = false };
        var shape = sets[0].Shape;
        var graph = new GraphProto { Name = "bench", Input = { Value(A, shape.K) } };
        for (var i = 0; i < sets.Count; i++)
        {
            var matMul = new NodeProto { Name = $"node{i}", OpType = "MatMul", Input = { A, $"B{i}" }, Output = { Y(i) } };
            LinearForm.Write(graph, writer, matMul, op.HopperLayout ? HopperCodes.Of(sets[i]) : sets[i], op.Form, ElementType.Float16);
            if (op.HopperLayout) graph.Node[^1].Attribute.Add(HopperCodes.Attribute);
            graph.Output.Add(Value(Y(i), shape.N));
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

    /// <summary>A model that copies A to Y0, to bring float16 tensors to the device and back.</summary>
    public static ModelProto Copy() => new()
    {
        IrVersion = 10,
        OpsetImport = { new OperatorSetIdProto { Version = 18 } },
        Graph = new GraphProto
        {
            Name = "copy",
            Node = { new NodeProto { Name = "copy", OpType = "Identity", Input = { A }, Output = { Y(0) } } },
            Input = { Any(A) },
            Output = { Any(Y(0)) },
        },
    };

    /// <summary>A float16 matrix of any number of rows.</summary>
    private static ValueInfoProto Value(string name, int columns)
    {
        var value = Any(name);
        value.Type.TensorType.Shape = new TensorShapeProto
        {
            Dim = { new TensorShapeProto.Types.Dimension { DimParam = "M" }, new TensorShapeProto.Types.Dimension { DimValue = columns } },
        };
        return value;
    }

    /// <summary>A float16 tensor of any shape.</summary>
    private static ValueInfoProto Any(string name) =>
        new() { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)DataType.Float16 } } };
}
