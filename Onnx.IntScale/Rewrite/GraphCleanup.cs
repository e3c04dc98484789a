namespace Onnx.IntScale;

/// <summary>Drops what a rewrite left without a use. Only values that the rewrite let go of are looked at: what was unused before stays.</summary>
public static class GraphCleanup
{
    /// <summary>Drops each value that has no use left, its producer or initializer, and then what only that used.</summary>
    /// <param name="graph">The top graph, already rewritten.</param>
    /// <param name="candidates">Values that lost a use.</param>
    /// <returns>Names of the dropped initializers.</returns>
    public static IReadOnlyList<string> DropUnused(GraphProto graph, IEnumerable<string> candidates)
    {
        var dropped = new List<string>();
        var round = candidates.ToHashSet(StringComparer.Ordinal);
        while (round.Count > 0)
        {
            var index = new GraphIndex(graph);
            var dead = round.Where(name => name.Length > 0 && index.UsesOf(name) == 0 && (!index.IsInput(name) || index.Initializer(name) != null)).ToHashSet(StringComparer.Ordinal);
            round = [];
            dropped.AddRange(graph.Initializer.Select(t => t.Name).Where(dead.Contains));
            RemoveAll(graph.Initializer, t => dead.Contains(t.Name));
            RemoveAll(graph.Node, n =>
            {
                var unused = n.Output.Count > 0 && n.Output.All(o => o.Length == 0 || dead.Contains(o));
                if (unused) round.UnionWith(n.Input);
                return unused;
            });

            // Before IR version 4 every initializer was also listed as an input.
            RemoveAll(graph.Input, i => dead.Contains(i.Name) && dropped.Contains(i.Name));
            RemoveAll(graph.ValueInfo, v => dead.Contains(v.Name));
            RemoveAll(graph.QuantizationAnnotation, a => dead.Contains(a.TensorName));
        }

        return dropped;
    }

    private static void RemoveAll<T>(IList<T> list, Func<T, bool> match)
    {
        for (var i = list.Count - 1; i >= 0; i--)
        {
            if (match(list[i])) list.RemoveAt(i);
        }
    }
}
