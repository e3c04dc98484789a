using System.Runtime.InteropServices;
using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Bench;

/// <summary>
/// The MatMulNBits (accuracy_level 4) form of a converted model: the same codes, and scales that are the products of its integers and
/// channel scales. Everything else is copied.
/// </summary>
internal static class NBitsModel
{
    // Inputs of our operator.
    private const int Codes = 1;
    private const int Integers = 2;
    private const int ChannelScales = 3;

    /// <summary>Writes it.</summary>
    /// <returns>Bytes written.</returns>
    /// <exception cref="ModelException">The model cannot be read, is not converted, or the output cannot be written.</exception>
    public static long Write(ModelFile model, string path, bool replace, Action<string> progress)
    {
        var graph = model.Proto.Graph;
        var index = new GraphIndex(graph);
        var nodes = IntScaleNode.Find(model);
        if (nodes.Count == 0) throw new ModelException(model.ModelPath, "has no MatMulNBitsIntScale node", "give a model that intscale convert made");
        using var writer = new ModelWriter(path, replace);
        var written = new Dictionary<string, TensorProto>(StringComparer.Ordinal);
        foreach (var node in nodes)
        {
            progress(node.Name);
            if (node.Node.Input.Count != ChannelScales + 1) throw new ModelException($"{model.ModelPath}: node '{node.Name}'", "has zero points or a bias, which this command does not carry over");
            var name = $"{node.Node.Input[Integers]}_float";
            // Layers that share a weight share its initializers too.
            if (!written.ContainsKey(name)) written[name] = Scales(model, index, node, writer, name);
            graph.Node[graph.Node.IndexOf(node.Node)] = LinearForm.NBitsNode(node.Node, node.Shape, [node.Node.Input[Codes], name]);
        }

        graph.Initializer.Add(written.Values);
        GraphCleanup.DropUnused(graph, nodes.SelectMany(n => n.Node.Input.Skip(Integers)));
        foreach (var tensor in TensorWalk.Tensors(model.Proto).Where(t => ExternalData.IsExternal(t) && !written.ContainsKey(t.Name)))
            writer.CopyExternal(model, tensor);

        var own = model.Proto.OpsetImport.Where(o => o.Domain == Ops.Domain).ToList();
        own.ForEach(o => model.Proto.OpsetImport.Remove(o));
        if (model.Proto.OpsetImport.All(o => o.Domain != Ops.MicrosoftDomain))
            model.Proto.OpsetImport.Add(new OperatorSetIdProto { Domain = Ops.MicrosoftDomain, Version = 1 });
        return writer.DataBytes + writer.Commit(model.Proto);
    }

    private static TensorProto Scales(ModelFile model, GraphIndex index, IntScaleNode node, ModelWriter writer, string name)
    {
        using var integers = model.Read(index.Initializer(node.Node.Input[Integers])!);
        using var channels = model.Read(index.Initializer(node.Node.Input[ChannelScales])!);
        return LinearForm.Scales(
            writer, name, node.Shape,
            MemoryMarshal.Cast<byte, short>(integers.Slice(0, (int)integers.Length)),
            MemoryMarshal.Cast<byte, float>(channels.Slice(0, (int)channels.Length)),
            TypeOf(model.Proto.Graph));
    }

    /// <summary>Type of the activations, which scales must have too: that of the logits.</summary>
    private static ElementType TypeOf(GraphProto graph) =>
        graph.Output[0].Type.TensorType.ElemType == (int)DataType.Float ? ElementType.Float : ElementType.Float16;
}
