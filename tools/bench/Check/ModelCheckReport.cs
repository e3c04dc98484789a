namespace Onnx.IntScale.Bench;

/// <summary>What a check of a model found.</summary>
/// <param name="Model">The .onnx file.</param>
/// <param name="Provider">What was checked; the CPU is what it was compared with.</param>
/// <param name="Misplaced">Why the nodes did not run there, or null: a node that went to the CPU would have passed every check.</param>
/// <param name="Nodes">Each node of our operator, in graph order.</param>
/// <param name="Logits">The logits.</param>
/// <param name="MinTop1">Least share of positions with the same top token.</param>
internal sealed record ModelCheckReport(string Model, string Provider, string? Misplaced, IReadOnlyList<NodeOutcome> Nodes, LogitsDiff Logits, double MinTop1)
{
    /// <summary>Elements of other bits than the specification's.</summary>
    public long Wrong => Nodes.Sum(n => n.Wrong);

    /// <summary>Whether all is as it should be.</summary>
    public bool Passed => !Faults().Any();

    /// <summary>The report.</summary>
    public IEnumerable<string> Lines()
    {
        var runs = Logits.Rows.GroupBy(m => m).Select(g => g.Count() == 1 ? $"M={g.Key}" : $"M={g.Key} ({g.Count()} runs)");
        yield return Text.F($"{Model} on {Provider}, {string.Join(", ", runs)}");
        yield return Text.F($"nodes: {Nodes.Count}, {Nodes.Sum(n => n.Elements)} elements, {Wrong} mismatches with the specification");
        yield return Text.F(
            $"logits against the CPU's: {Logits.Positions} positions, max |difference| {Logits.MaxAbs:G4}, relative {Logits.Relative:G4}, KL mean {Logits.MeanKl:G4} max {Logits.MaxKl:G4}, top-1 agreement {Logits.Top1:F4}");
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

        if (Logits.NotFinite > 0) yield return $"logits are NaN or infinite at {Logits.NotFinite} positions";
        if (!(Logits.Top1 >= MinTop1)) yield return Text.F($"top-1 agreement is below {MinTop1}");
    }
}
