using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Bench;

/// <summary>
/// A model of independent nodes, as a model has many layers: A [M, K] float16 → Y [M, N] float16, for each weight set one node and, where
/// sets are to be used again, one more after all others. Weights lie in a file beside it, so that they may pass 2 GB and are mapped when the model is loaded.
/// </summary>
internal static class NodesModel
{
    /// <summary>Name of the input of the nodes that use weights for time r. Inputs of the same name would make them the same node to ONNX Runtime.</summary>
    public static string A(int r) => $"A{r}";

    /// <summary>Name of output i.</summary>
    public static string Y(int i) => $"Y{i}";

    /// <summary>Writes the model of an operator: sets.Count · repeats nodes.</summary>
    public static void Write(string path, CudaOperator op, IReadOnlyList<WeightSet> sets, int repeats)
    {
        using var writer = new ModelWriter(path) { Flush = false };
        var shape = sets[0].Shape;
        var graph = new GraphProto { Name = "bench", Input = { Enumerable.Range(0, repeats).Select(r => Value(A(r), shape.K)) } };
        for (var i = 0; i < sets.Count; i++)
        {
            var matMul = new NodeProto { Name = $"node{i}", OpType = "MatMul", Input = { A(0), $"B{i}" }, Output = { Y(i) } };
            LinearForm.Write(graph, writer, matMul, op.HopperLayout ? HopperCodes.Of(sets[i]) : sets[i], op.Form, ElementType.Float16);
            if (op.HopperLayout) graph.Node[^1].Attribute.Add(HopperCodes.Attribute);
        }

        foreach (var i in Enumerable.Range(sets.Count, sets.Count * (repeats - 1)))
        {
            var again = graph.Node[i % sets.Count].Clone();
            (again.Name, again.Input[0], again.Output[0]) = ($"node{i}", A(i / sets.Count), Y(i));
            graph.Node.Add(again);
        }

        graph.Output.Add(graph.Node.Select(n => Value(n.Output[0], shape.N)));

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
            Node = { new NodeProto { Name = "copy", OpType = "Identity", Input = { A(0) }, Output = { Y(0) } } },
            Input = { Any(A(0)) },
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
