namespace Onnx.IntScale.Bench;

/// <summary>What a check of a model found.</summary>
/// <param name="Model">The .onnx file.</param>
/// <param name="Provider">What was checked.</param>
/// <param name="Misplaced">Which nodes ran elsewhere than they should, or null: one that went to the CPU would have passed every check.</param>
/// <param name="Nodes">Each node of our operator, in graph order.</param>
/// <param name="Mixed">The logits against those with this operator on the CPU and all others where they were: the share of this operator.</param>
/// <param name="Cpu">The logits against the CPU's.</param>
/// <param name="MinTop1">Least share of positions with the same top token.</param>
internal sealed record ModelCheckReport(
    string Model, string Provider, string? Misplaced, IReadOnlyList<NodeOutcome> Nodes, LogitsDiff Mixed, LogitsDiff Cpu, double MinTop1)
{
    /// <summary>Elements of other bits than the specification's.</summary>
    public long Wrong => Nodes.Sum(n => n.Wrong);

    /// <summary>Whether all is as it should be.</summary>
    public bool Passed => !Faults().Any();

    /// <summary>The report.</summary>
    public IEnumerable<string> Lines()
    {
        var runs = Cpu.Rows.GroupBy(m => m).Select(g => g.Count() == 1 ? $"M={g.Key}" : $"M={g.Key} ({g.Count()} runs)");
        yield return Text.F($"{Model} on {Provider}, {string.Join(", ", runs)}");
        yield return Text.F($"nodes: {Nodes.Count}, {Nodes.Sum(n => n.Elements)} elements, {Wrong} mismatches with the specification");
        yield return Mixed.Line;
        yield return Cpu.Line;
        foreach (var fault in Faults()) yield return $"failed: {fault}";
    }

    private IEnumerable<string> Faults()
    {
        if (Misplaced != null) yield return Misplaced;
        foreach (var node in Nodes)
        {
            if (node.Fault != null) yield return $"{node.Node}: {node.Fault}";
            if (node.NotFinite > 0) yield return $"{node.Node}: {node.NotFinite} elements are NaN or infinite";
        }

        foreach (var fault in Mixed.Faults(MinTop1).Concat(Cpu.Faults(MinTop1))) yield return fault;
    }
}
