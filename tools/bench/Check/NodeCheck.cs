using Microsoft.ML.OnnxRuntime;

namespace Onnx.IntScale.Bench;

/// <summary>What a model's node gave, against what it should have.</summary>
/// <param name="Node">Its name.</param>
/// <param name="Elements">Elements of Y compared.</param>
/// <param name="Wrong">Those of other bits than the specification's.</param>
/// <param name="NotFinite">Those that are NaN or infinite.</param>
/// <param name="Fault">The first wrong one, in words, or null.</param>
internal sealed record NodeOutcome(string Node, long Elements, long Wrong, long NotFinite, string? Fault);

/// <summary>Holds a model's nodes to the specification, each fed the very activations that it was given.</summary>
/// <param name="model">The model; a node's weights are read when they are needed.</param>
internal sealed unsafe class NodeCheck(ModelFile model)
{
    private readonly GraphIndex _index = new(model.Proto.Graph);

    /// <summary>Names of the values that a check of these nodes needs: each one's A and Y.</summary>
    /// <exception cref="BenchException">A node's A is no inner value.</exception>
    public IReadOnlyList<string> Taps(IReadOnlyList<IntScaleNode> nodes)
    {
        if (nodes.FirstOrDefault(n => _index.Producer(n.Node.Input[OpSchema.A]) == null) is { } bare)
            throw new BenchException($"{model.ModelPath}: node '{bare.Name}': no node makes its activations '{bare.Node.Input[OpSchema.A]}', so that they cannot be looked at");
        return [.. nodes.SelectMany(n => new[] { n.Node.Input[OpSchema.A], n.Node.Output[0] }).Distinct(StringComparer.Ordinal)];
    }

    /// <summary>Compares every bit of what a node gave in some runs.</summary>
    /// <param name="node">The node.</param>
    /// <param name="runs">Values by name.</param>
    public NodeOutcome Run(IntScaleNode node, IEnumerable<IReadOnlyDictionary<string, OrtValue>> runs)
    {
        var (input, output) = (node.Node.Input[OpSchema.A], node.Node.Output[0]);
        var where = $"{model.ModelPath}: node '{node.Name}'";
        using var weights = node.Load(model, _index);
        var (elements, wrong, notFinite, fault) = (0L, 0L, 0L, default(string));
        foreach (var values in runs)
        {
            var (a, y) = (TensorRows.Of(values[input], $"{where}: A"), TensorRows.Of(values[output], $"{where}: Y"));
            if (a.Columns != node.Shape.K || y.Columns != node.Shape.N || a.Rows != y.Rows || a.Type != y.Type)
                throw new BenchException($"{where}: A is {a.Type} [{a.Rows}, {a.Columns}], Y {y.Type} [{y.Rows}, {y.Columns}]; the node has K={node.Shape.K}, N={node.Shape.N}");
            using var bias = node.LoadBias(model, _index, a.Type);
            var expected = Specification.Compute(weights.View, bias, a.Rows, a.Type, a.Data);
            elements += (long)y.Rows * y.Columns;
            notFinite += NotFinite(y);
            if (Specification.Compare(y.Type, y.Columns, expected, new ReadOnlySpan<byte>(y.Data, expected.Length)) is not { } mismatch) continue;
            wrong += mismatch.Count;
            fault ??= $"M={y.Rows}: {mismatch.Words}";
        }

        return new(node.Name, elements, wrong, notFinite, fault);
    }

    private static long NotFinite(TensorRows rows)
    {
        var (row, count) = (new float[rows.Columns], 0L);
        for (var i = 0; i < rows.Rows; i++)
        {
            rows.Load(i, row);
            foreach (var value in row) count += float.IsFinite(value) ? 0 : 1;
        }

        return count;
    }
}
