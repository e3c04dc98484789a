namespace Onnx.IntScale;

/// <summary>A change of a graph, as data: which nodes are replaced by which, and which initializers they need.</summary>
/// <param name="Replacements">Old node → new node with the same outputs.</param>
/// <param name="Initializers">Initializers to add.</param>
/// <param name="Domain">Operator domain that the new nodes need.</param>
/// <param name="DomainVersion">Its version.</param>
public sealed record Patch(
    IReadOnlyList<(NodeProto Old, NodeProto New)> Replacements,
    IReadOnlyList<TensorProto> Initializers,
    string Domain,
    long DomainVersion)
{
    /// <summary>Before this IR version every initializer must also be listed as a graph input.</summary>
    private const long FirstIrVersionWithBareInitializers = 4;

    /// <summary>
    /// Applies the patch in place: nodes keep their position, what only the replaced nodes used is dropped, everything else stays as it is.
    /// </summary>
    /// <returns>Names of the dropped initializers.</returns>
    public IReadOnlyList<string> Apply(ModelProto model)
    {
        var graph = model.Graph;
        var replacement = new Dictionary<NodeProto, NodeProto>(ReferenceEqualityComparer.Instance);
        foreach (var (old, @new) in Replacements) replacement.Add(old, @new);
        for (var i = 0; i < graph.Node.Count; i++)
        {
            if (replacement.TryGetValue(graph.Node[i], out var node)) graph.Node[i] = node;
        }

        graph.Initializer.AddRange(Initializers);
        if (model.IrVersion < FirstIrVersionWithBareInitializers) graph.Input.AddRange(Initializers.Select(AsInput));
        if (model.OpsetImport.All(o => o.Domain != Domain)) model.OpsetImport.Add(new OperatorSetIdProto { Domain = Domain, Version = DomainVersion });
        return GraphCleanup.DropUnused(graph, Replacements.SelectMany(r => r.Old.Input));
    }

    private static ValueInfoProto AsInput(TensorProto tensor)
    {
        var shape = new TensorShapeProto();
        shape.Dim.AddRange(tensor.Dims.Select(d => new TensorShapeProto.Types.Dimension { DimValue = d }));
        return new() { Name = tensor.Name, Type = new() { TensorType = new() { ElemType = tensor.DataType, Shape = shape } } };
    }
}
