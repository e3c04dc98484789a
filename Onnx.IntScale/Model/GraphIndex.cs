namespace Onnx.IntScale;

/// <summary>Names of a graph: who makes a value, and how often it is used (also from inside subgraphs, and as a graph output).</summary>
public sealed class GraphIndex
{
    private readonly Dictionary<string, NodeProto> _producers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, TensorProto> _initializers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> _uses = new(StringComparer.Ordinal);
    private readonly HashSet<string> _inputs;

    /// <summary>Indexes the top graph of a model.</summary>
    public GraphIndex(GraphProto graph)
    {
        Graph = graph;
        _inputs = graph.Input.Select(i => i.Name).ToHashSet(StringComparer.Ordinal);
        foreach (var tensor in graph.Initializer) _initializers[tensor.Name] = tensor;
        foreach (var node in graph.Node)
        {
            foreach (var output in node.Output) _producers[output] = node;
        }

        var used = graph.Node.Concat(TensorWalk.NestedNodes(graph).Select(n => n.Node)).SelectMany(n => n.Input)
            .Concat(graph.Node.SelectMany(TensorWalk.Subgraphs).SelectMany(TensorWalk.AllGraphs).SelectMany(g => g.Output).Select(o => o.Name))
            .Concat(graph.Output.Select(o => o.Name));
        foreach (var name in used) _uses[name] = UsesOf(name) + 1;
    }

    /// <summary>The indexed graph.</summary>
    public GraphProto Graph { get; }

    /// <summary>The node that makes a value, or null for inputs and initializers.</summary>
    public NodeProto? Producer(string name) => _producers.GetValueOrDefault(name);

    /// <summary>The initializer of that name, or null.</summary>
    public TensorProto? Initializer(string name) => _initializers.GetValueOrDefault(name);

    /// <summary>Whether a value is a graph input.</summary>
    public bool IsInput(string name) => _inputs.Contains(name);

    /// <summary>How often a value is used: node inputs at any depth and graph outputs.</summary>
    public int UsesOf(string name) => _uses.GetValueOrDefault(name);

    /// <summary>Whether a name is taken by a value of the graph.</summary>
    public bool IsTaken(string name) => _initializers.ContainsKey(name) || _producers.ContainsKey(name) || _inputs.Contains(name) || _uses.ContainsKey(name);
}
