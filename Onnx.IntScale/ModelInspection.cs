using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale;

/// <summary>A graph input or output.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">"float16 [batch,seq,4096]".</param>
public sealed record ValueSummary(string Name, string Type);

/// <summary>A linear layer that can be converted.</summary>
/// <param name="Name">Node name.</param>
/// <param name="K">Input features.</param>
/// <param name="N">Output channels.</param>
/// <param name="Type">Element type.</param>
/// <param name="Bytes">Bytes of its weight.</param>
public sealed record LayerSummary(string Name, int K, int N, string Type, long Bytes);

/// <summary>A converted layer.</summary>
/// <param name="Name">Node name.</param>
/// <param name="K">Input features.</param>
/// <param name="N">Output channels.</param>
/// <param name="Bits">Bits of a code.</param>
/// <param name="BlockSize">Block size.</param>
/// <param name="MaxAccumulator">The certificate on the node, or null.</param>
public sealed record ConvertedSummary(string Name, int K, int N, int Bits, int BlockSize, long? MaxAccumulator);

/// <summary>What a model is made of.</summary>
/// <param name="Path">The .onnx file.</param>
/// <param name="Bytes">Bytes of graph and external data in use.</param>
/// <param name="IrVersion">ONNX IR version.</param>
/// <param name="Opsets">"ai.onnx 18", "com.microsoft 1".</param>
/// <param name="Producer">Name of the exporter.</param>
/// <param name="Inputs">Graph inputs.</param>
/// <param name="Outputs">Graph outputs.</param>
/// <param name="Operators">Operators with node counts, most first.</param>
/// <param name="Layers">Linear layers that can be converted.</param>
/// <param name="Converted">Layers converted already.</param>
/// <param name="Skipped">Other matrix products, with reasons.</param>
public sealed record ModelInspection(
    string Path,
    long Bytes,
    long IrVersion,
    IReadOnlyList<string> Opsets,
    string Producer,
    IReadOnlyList<ValueSummary> Inputs,
    IReadOnlyList<ValueSummary> Outputs,
    IReadOnlyDictionary<string, int> Operators,
    IReadOnlyList<LayerSummary> Layers,
    IReadOnlyList<ConvertedSummary> Converted,
    IReadOnlyList<Skipped> Skipped)
{
    /// <summary>Reads a model's graph; tensor data is checked for place and size, not read.</summary>
    /// <exception cref="ModelException">The model cannot be read.</exception>
    public static ModelInspection Of(string path)
    {
        var model = ModelFile.Load(path);
        var graph = model.Proto.Graph;
        foreach (var tensor in TensorWalk.Tensors(model.Proto)) model.Check(tensor);
        var found = LinearLayerFinder.Find(model, new GraphIndex(graph), [], []);
        return new(
            model.ModelPath,
            model.TotalBytes(),
            model.Proto.IrVersion,
            [.. model.Proto.OpsetImport.Select(o => $"{(o.Domain.Length > 0 ? o.Domain : "ai.onnx")} {o.Version}")],
            model.Proto.ProducerName,
            [.. graph.Input.Where(i => graph.Initializer.All(t => t.Name != i.Name)).Select(Summary)],
            [.. graph.Output.Select(Summary)],
            graph.Node.GroupBy(n => n.Domain.Length > 0 ? $"{n.Domain}.{n.OpType}" : n.OpType).OrderByDescending(g => g.Count()).ThenBy(g => g.Key, StringComparer.Ordinal).ToDictionary(g => g.Key, g => g.Count()),
            [.. found.Layers.Select(l => new LayerSummary(l.Name, l.K, l.N, l.Type.ToString().ToLowerInvariant(), (long)l.K * l.N * Elements.SizeOf(l.Type)))],
            [.. IntScaleNode.Find(model).Select(n => new ConvertedSummary(n.Name, n.Shape.K, n.Shape.N, n.Shape.Bits, n.Shape.BlockSize, n.MaxAccumulator))],
            found.Skipped);
    }

    private static ValueSummary Summary(ValueInfoProto value)
    {
        var tensor = value.Type?.TensorType;
        var dims = tensor?.Shape?.Dim.Select(d => d.HasDimValue ? $"{d.DimValue}" : d.HasDimParam ? d.DimParam : "?");
        return new(value.Name, tensor == null ? "(no tensor)" : $"{((DataType)tensor.ElemType).ToString().ToLowerInvariant()} [{string.Join(',', dims ?? [])}]");
    }
}
