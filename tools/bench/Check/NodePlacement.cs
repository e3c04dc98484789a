using System.Text.Json;

namespace Onnx.IntScale.Bench;

/// <summary>Which execution provider ran our operator's nodes, as a session's profile tells.</summary>
/// <param name="Nodes">So many of the nodes each provider ran.</param>
internal sealed record NodePlacement(IReadOnlyDictionary<string, int> Nodes)
{
    /// <summary>Reads a profile: a JSON array of events, among them one for each run of a node.</summary>
    public static NodePlacement Read(string path)
    {
        using var profile = JsonDocument.Parse(File.ReadAllBytes(path));
        var ran = new HashSet<(string Provider, string Node)>();
        foreach (var e in profile.RootElement.EnumerateArray())
        {
            if (!e.TryGetProperty("cat", out var category) || category.GetString() != "Node" || !e.TryGetProperty("args", out var args)) continue;
            if (Argument("op_name") == Ops.MatMulNBitsIntScale) ran.Add((Argument("provider"), Argument("node_index")));

            string Argument(string name) => args.TryGetProperty(name, out var value) ? value.ToString() : "";
        }

        return new(ran.GroupBy(r => r.Provider, StringComparer.Ordinal).ToDictionary(g => g.Key, g => g.Count(), StringComparer.Ordinal));
    }

    /// <summary>What is wrong where all of so many nodes should have run on one provider and no other, or null.</summary>
    public string? Fault(string provider, int nodes) => Nodes.Count == 1 && Nodes.GetValueOrDefault(provider) == nodes
        ? null
        : $"of {nodes} nodes {(Nodes.Count == 0 ? "none ran" : string.Join(", ", Nodes.Select(n => $"{n.Value} ran on {n.Key}")))}, all should on {provider}";
}
