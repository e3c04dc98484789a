using System.IO.Enumeration;

namespace Onnx.IntScale;

/// <summary>
/// Finds the linear layers of a graph: MatMul(A, W) with constant W, as the GenAI-style and the torch.onnx exports have them.
/// W may be an initializer or a Constant node, directly or behind Identity and Transpose nodes.
/// </summary>
public static class LinearLayerFinder
{
    private static readonly string[] QuantizedOps = ["MatMulNBits", "MatMulInteger", "QLinearMatMul", "MatMulBnb4", "QMoE", "MatMulFpQ4"];

    /// <summary>Sorts every matrix product of the model.</summary>
    /// <param name="model">The model.</param>
    /// <param name="index">Its top graph, indexed.</param>
    /// <param name="include">Globs (* and ?) of node names; none means all.</param>
    /// <param name="exclude">Globs of node names to leave alone.</param>
    public static FoundLayers Find(ModelFile model, GraphIndex index, IReadOnlyList<string> include, IReadOnlyList<string> exclude)
    {
        var layers = new List<LinearLayer>();
        var skipped = new List<Skipped>();
        foreach (var node in index.Graph.Node)
        {
            switch (Examine(node, model.Proto, index, include, exclude))
            {
                case LinearLayer layer: layers.Add(layer); break;
                case Skipped skip: skipped.Add(skip); break;
            }
        }

        foreach (var (holder, node) in TensorWalk.NestedNodes(index.Graph).Where(n => Ops.IsStandard(n.Node, "MatMul")))
            skipped.Add(new(Ops.NameOf(node), $"inside a subgraph of {holder.OpType} '{Ops.NameOf(holder)}'; only the top graph is rewritten"));
        foreach (var function in model.Proto.Functions)
        {
            foreach (var node in function.Node.Where(n => Ops.IsStandard(n, "MatMul")))
                skipped.Add(new(Ops.NameOf(node), $"inside the function {function.Domain}.{function.Name}; only the top graph is rewritten"));
        }

        return new(layers, skipped);
    }

    /// <summary>A layer, a refusal, or null for a node that is no matrix product.</summary>
    private static object? Examine(NodeProto node, ModelProto model, GraphIndex index, IReadOnlyList<string> include, IReadOnlyList<string> exclude)
    {
        var name = Ops.NameOf(node);
        if (QuantizedOps.Contains(node.OpType)) return new Skipped(name, $"already quantized ({node.OpType})");
        if (Ops.IsStandard(node, "Gemm")) return Constant(node.Input.ElementAtOrDefault(1), index) != null ? new Skipped(name, "is a Gemm; only MatMul is rewritten") : null;
        if (!Ops.IsStandard(node, "MatMul")) return null;
        if (node.Input.Count != 2) return new Skipped(name, $"has {node.Input.Count} inputs instead of 2");
        if (Constant(node.Input[1], index) is not { } weight)
            return new Skipped(name, Constant(node.Input[0], index) != null ? "its constant is the left operand" : "both operands are computed (attention, or weights that are no constants)");

        var tensor = weight.Tensor;
        if (tensor.Dims.Count != 2) return new Skipped(name, $"its weight has {tensor.Dims.Count} dimensions instead of 2");
        if (TensorTypes.FloatType(tensor.DataType) is not { } type) return new Skipped(name, $"its weight is {TensorTypes.Describe(tensor)}; only float16, bfloat16 and float are quantized");
        var (k, n) = weight.Transposed ? (tensor.Dims[1], tensor.Dims[0]) : (tensor.Dims[0], tensor.Dims[1]);
        if (k <= 0 || n <= 0) return new Skipped(name, $"its weight is empty ({TensorTypes.Describe(tensor)})");
        if (k > Array.MaxLength / n) return new Skipped(name, $"its weight has more than {Array.MaxLength} elements");
        if (index.IsInput(tensor.Name) && model.IrVersion >= 4) return new Skipped(name, "its weight is also a graph input, which a caller may replace");
        if (exclude.FirstOrDefault(glob => Matches(glob, name)) is { } excluded) return new Skipped(name, $"excluded by --exclude {excluded}");
        if (include.Count > 0 && !include.Any(glob => Matches(glob, name))) return new Skipped(name, "not matched by --include");
        return new LinearLayer(name, node, weight, (int)k, (int)n, type);
    }

    /// <summary>Follows a value back to a constant through Identity and 2-D Transpose nodes.</summary>
    private static WeightSource? Constant(string? value, GraphIndex index)
    {
        if (string.IsNullOrEmpty(value)) return null;
        var transposed = false;
        var current = value;
        // A graph with a cycle is no ONNX model, but it must not hang the search: no path is longer than the graph.
        for (var steps = 0; steps <= index.Graph.Node.Count; steps++)
        {
            if (index.Initializer(current) is { } initializer) return new(initializer, transposed, value);
            if (index.Producer(current) is not { } node) return null;
            if (Ops.IsStandard(node, "Constant"))
                return node.Attribute.FirstOrDefault(a => a.Name == "value")?.T is { } tensor ? new(tensor, transposed, value) : null;
            var transposes = IsPlainTranspose(node);
            if (node.Input.Count != 1 || !(transposes || Ops.IsStandard(node, "Identity"))) return null;
            transposed ^= transposes;
            current = node.Input[0];
        }

        return null;
    }

    private static bool IsPlainTranspose(NodeProto node) => Ops.IsStandard(node, "Transpose") &&
        (node.Attribute.FirstOrDefault(a => a.Name == "perm") is not { } perm || perm.Ints.SequenceEqual([1L, 0L]));

    private static bool Matches(string glob, string name) => FileSystemName.MatchesSimpleExpression(glob, name, ignoreCase: false);
}
