namespace Onnx.IntScale;

/// <summary>Where one rewritten layer is measured.</summary>
/// <param name="Node">The node of the converted model.</param>
/// <param name="Output">Name of its output, the same in both models.</param>
/// <param name="Input">Name of the activations in the reference that its MatMul reads, or null where it was not found.</param>
/// <param name="Note">Why it cannot be measured, or null.</param>
public sealed record LayerTap(IntScaleNode Node, string Output, string? Input, string? Note)
{
    /// <summary>Pairs each rewritten layer of a model with the MatMul of its reference that has the same output.</summary>
    /// <exception cref="ModelException">The converted model has a malformed node.</exception>
    public static IReadOnlyList<LayerTap> Find(ModelFile reference, ModelFile converted)
    {
        var index = new GraphIndex(reference.Proto.Graph);
        return IntScaleNode.Find(converted).Select(node =>
        {
            var output = node.Node.Output[0];
            var source = index.Producer(output);
            // A bias may have been an Add after the MatMul.
            if (source != null && Ops.IsStandard(source, "Add"))
                source = source.Input.Select(index.Producer).FirstOrDefault(p => p != null && IsLinear(p));
            return source switch
            {
                null => new LayerTap(node, output, null, $"the reference has no value '{output}'"),
                _ when !IsLinear(source) => new LayerTap(node, output, null, $"the reference makes '{output}' with {source.OpType}, not MatMul"),
                _ => new LayerTap(node, output, source.Input[0], null),
            };
        }).ToList();
    }

    private static bool IsLinear(NodeProto node) => Ops.IsStandard(node, "MatMul") || Ops.IsStandard(node, "Gemm") || Ops.IsIntScale(node);
}
