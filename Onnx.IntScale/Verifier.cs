namespace Onnx.IntScale;

/// <summary>One layer's certificate, declared and recomputed.</summary>
/// <param name="Name">Node name.</param>
/// <param name="K">Input features.</param>
/// <param name="N">Output channels.</param>
/// <param name="Declared">The node's max_accumulator, or null.</param>
/// <param name="Computed">The same from the stored weights.</param>
/// <param name="Fault">What is wrong, or null where the certificate holds.</param>
public sealed record CertificateCheck(string Name, int K, int N, long? Declared, long Computed, string? Fault);

/// <summary>Recomputes the overflow certificates of a converted model from its stored weights.</summary>
public static class Verifier
{
    /// <summary>Checks every <c>MatMulNBitsIntScale</c> node of a model.</summary>
    /// <param name="path">A .onnx file, or a folder with model.onnx.</param>
    /// <param name="progress">Told (done, total, node name).</param>
    /// <exception cref="ModelException">The model cannot be read or a node's inputs are not as the operator needs them.</exception>
    public static IReadOnlyList<CertificateCheck> Verify(string path, Action<int, int, string>? progress = null)
    {
        var model = ModelFile.Load(path);
        var index = new GraphIndex(model.Proto.Graph);
        var nodes = IntScaleNode.Find(model);
        var checks = new List<CertificateCheck>();
        foreach (var node in nodes)
        {
            progress?.Invoke(checks.Count, nodes.Count, node.Name);
            using var weights = node.Load(model, index);
            var computed = Certificate.Compute(weights.View);
            checks.Add(new(node.Name, node.Shape.K, node.Shape.N, node.MaxAccumulator, computed, Fault(node.MaxAccumulator, computed)));
        }

        return checks;
    }

    private static string? Fault(long? declared, long computed) => declared switch
    {
        _ when computed > Certificate.Int32Limit => $"int32 can overflow: {computed} is past {Certificate.Int32Limit}",
        null => "the node declares none",
        > Certificate.Int32Limit => $"declares more than {Certificate.Int32Limit}",
        _ when declared < computed => $"declares {declared}, the weights reach {computed}",
        _ => null,
    };
}
