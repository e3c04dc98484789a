namespace Onnx.IntScale;

/// <summary>Visits every graph, node and tensor of a model: top graph, subgraphs of If/Loop/Scan, functions, training graphs.</summary>
public static class TensorWalk
{
    /// <summary>Every tensor that a model stores, wherever it sits.</summary>
    public static IEnumerable<TensorProto> Tensors(ModelProto model)
    {
        foreach (var graph in Graphs(model))
        {
            foreach (var tensor in graph.Initializer) yield return tensor;
            foreach (var tensor in graph.SparseInitializer.SelectMany(Parts)) yield return tensor;
        }

        foreach (var attribute in Nodes(model).SelectMany(n => n.Attribute))
        {
            if (attribute.T != null) yield return attribute.T;
            foreach (var tensor in attribute.Tensors) yield return tensor;
            if (attribute.SparseTensor != null)
            {
                foreach (var tensor in Parts(attribute.SparseTensor)) yield return tensor;
            }

            foreach (var tensor in attribute.SparseTensors.SelectMany(Parts)) yield return tensor;
        }
    }

    /// <summary>The nodes of a graph's subgraphs, at any depth, each with the node of this graph that holds it.</summary>
    public static IEnumerable<(NodeProto Holder, NodeProto Node)> NestedNodes(GraphProto graph) =>
        graph.Node.SelectMany(holder => Subgraphs(holder).SelectMany(AllGraphs).SelectMany(g => g.Node).Select(node => (holder, node)));

    /// <summary>The graphs in a node's attributes.</summary>
    public static IEnumerable<GraphProto> Subgraphs(NodeProto node) =>
        node.Attribute.SelectMany(a => a.G != null ? a.Graphs.Prepend(a.G) : a.Graphs);

    /// <summary>A graph and all graphs nested in it.</summary>
    public static IEnumerable<GraphProto> AllGraphs(GraphProto graph) =>
        graph.Node.SelectMany(Subgraphs).SelectMany(AllGraphs).Prepend(graph);

    private static IEnumerable<GraphProto> Graphs(ModelProto model)
    {
        var roots = model.TrainingInfo.SelectMany(t => new[] { t.Initialization, t.Algorithm }).Prepend(model.Graph).Where(g => g != null);
        return roots.SelectMany(AllGraphs).Concat(model.Functions.SelectMany(f => f.Node).SelectMany(Subgraphs).SelectMany(AllGraphs));
    }

    private static IEnumerable<NodeProto> Nodes(ModelProto model) =>
        Graphs(model).SelectMany(g => g.Node).Concat(model.Functions.SelectMany(f => f.Node));

    private static IEnumerable<TensorProto> Parts(SparseTensorProto sparse) => new[] { sparse.Values, sparse.Indices }.Where(t => t != null);
}
