namespace Onnx.IntScale;

/// <summary>
/// The conversion, top to bottom: load the graph → find its linear layers → quantize each and stream it to the output →
/// patch the graph → copy what is left → commit. One weight is in memory at a time.
/// </summary>
public static class Converter
{
    /// <summary>Finds what a conversion would rewrite, and writes nothing.</summary>
    /// <param name="input">A .onnx file, or a folder with a model.onnx.</param>
    /// <param name="options">Only Include and Exclude matter.</param>
    /// <exception cref="ModelException">The model cannot be read or is converted already.</exception>
    public static FoundLayers Plan(string input, ConvertOptions options) => Open(input, options).Layers;

    /// <summary>Converts a float16 (bfloat16, float) model to integer-scale weights.</summary>
    /// <param name="input">A .onnx file, or a folder with a model.onnx, whose other files are then copied along.</param>
    /// <param name="output">A folder, or a .onnx file. It appears complete or not at all.</param>
    /// <param name="options">Options.</param>
    /// <param name="progress">Told after each layer and copied tensor.</param>
    /// <param name="cancel">Stops the conversion and removes what was written.</param>
    /// <exception cref="ModelException">Bad input or options, or an output that cannot be written (disk full, read-only); says where and what to do.</exception>
    /// <exception cref="OperationCanceledException">The conversion was stopped; nothing was written.</exception>
    public static ConversionReport Convert(
        string input, string output, ConvertOptions options, IProgress<ConversionProgress>? progress = null, CancellationToken cancel = default)
    {
        if (options.Quantize.Fault() is { } fault) throw new ModelException("options", fault);
        var (model, index, found) = Open(input, options);
        var plan = OutputPlan.For(model, input, output, options.Force);
        var bytesBefore = model.TotalBytes();
        if (found.Layers.Count == 0) return new(model.ModelPath, plan.Output, [], found.Skipped, bytesBefore, bytesBefore, []);

        using var writer = new ModelWriter(plan.Output, options.Force);
        var work = new Work(model, index, options.Quantize, writer, progress, cancel, bytesBefore);
        var reports = work.Rewrite(found.Layers);
        work.Patch.Apply(model.Proto);
        work.CopyRemaining();
        foreach (var file in plan.Companions)
        {
            work.Tell($"copying {Path.GetFileName(file)}");
            writer.CopyFile(file, cancel);
        }

        work.Tell("finishing");
        var bytesAfter = writer.DataBytes + writer.Commit(model.Proto, cancel);
        return new(model.ModelPath, plan.Output, reports, found.Skipped, bytesBefore, bytesAfter, plan.Companions);
    }

    private static (ModelFile Model, GraphIndex Index, FoundLayers Layers) Open(string input, ConvertOptions options)
    {
        var model = ModelFile.Load(input);
        if (model.Proto.Graph.Node.FirstOrDefault(Ops.IsIntScale) is { } node)
            throw new ModelException($"{model.ModelPath}: node '{Ops.NameOf(node)}'", "this model is converted already", "convert the float16 model it was made from");
        var twins = model.Proto.Graph.Node.Where(n => n.Name.Length > 0).GroupBy(n => n.Name, StringComparer.Ordinal).FirstOrDefault(g => g.Count() > 1);
        if (twins != null)
            throw new ModelException($"{model.ModelPath}: node '{twins.Key}'", $"{twins.Count()} nodes have this name, and ONNX Runtime loads no such model", "give each node a name of its own, or none");
        foreach (var tensor in TensorWalk.Tensors(model.Proto)) model.Check(tensor);
        var index = new GraphIndex(model.Proto.Graph);
        return (model, index, LinearLayerFinder.Find(model, index, options.Include, options.Exclude));
    }

    /// <summary>The state of one conversion.</summary>
    private sealed class Work(
        ModelFile model, GraphIndex index, QuantizeOptions options, ModelWriter writer, IProgress<ConversionProgress>? progress, CancellationToken cancel, long total)
    {
        private readonly List<(TensorProto Tensor, bool Transposed, WeightSummary Weight, IReadOnlyList<TensorProto> Initializers, string Layer)> _quantized = [];
        private readonly Dictionary<(ExternalData Place, int Type, string Dims), TensorProto> _firstAt = [];
        private readonly List<(NodeProto, NodeProto)> _replacements = [];
        private long _done;

        public Patch Patch => new(_replacements, [.. _quantized.SelectMany(q => q.Initializers)], Ops.Domain, Ops.DomainVersion);

        public void Tell(string step, LayerReport? layer = null) => progress?.Report(new(step, Math.Min(_done, total), total, layer));

        public List<LayerReport> Rewrite(IReadOnlyList<LinearLayer> layers)
        {
            var reports = new List<LayerReport>();
            foreach (var layer in layers)
            {
                cancel.ThrowIfCancellationRequested();
                Tell(layer.Name);
                var bytes = model.Check(layer.Weight.Tensor);
                var tensor = FirstOf(layer.Weight.Tensor);
                var quantized = _quantized.Find(q => ReferenceEquals(q.Tensor, tensor) && q.Transposed == layer.Weight.Transposed);
                var shared = quantized.Layer != null;
                if (!shared)
                {
                    var weight = Quantize(layer);
                    quantized = (tensor, layer.Weight.Transposed, weight.Summary, IntScaleRewrite.Write(writer, weight, layer.Weight.Name, index), layer.Name);
                    _quantized.Add(quantized);
                    _done += bytes;
                }

                _replacements.Add((layer.Node, IntScaleRewrite.Node(layer, quantized.Weight, quantized.Initializers)));
                reports.Add(Report(layer, quantized.Weight, bytes, shared ? quantized.Layer : null));
                Tell(layer.Name, reports[^1]);
            }

            return reports;
        }

        public void CopyRemaining()
        {
            var written = _quantized.SelectMany(q => q.Initializers).ToHashSet<object>(ReferenceEqualityComparer.Instance);
            foreach (var tensor in TensorWalk.Tensors(model.Proto).Where(t => ExternalData.IsExternal(t) && !written.Contains(t)))
            {
                cancel.ThrowIfCancellationRequested();
                var step = $"copying {tensor.Name}";
                Tell(step);
                writer.CopyExternal(model, tensor, bytes =>
                {
                    _done += bytes;
                    Tell(step);
                }, cancel);
            }
        }

        /// <summary>The first tensor met of those that are the same bytes of the same file in the same form.</summary>
        private TensorProto FirstOf(TensorProto tensor)
        {
            if (!ExternalData.IsExternal(tensor)) return tensor;
            var key = (model.PlaceOf(tensor), tensor.DataType, string.Join(',', tensor.Dims));
            return _firstAt.TryGetValue(key, out var first) ? first : _firstAt[key] = tensor;
        }

        private QuantizedWeight Quantize(LinearLayer layer)
        {
            using var data = model.Read(layer.Weight.Tensor, cancel);
            try
            {
                return WeightQuantizer.Quantize(new WeightMatrix(data, layer.Type, layer.K, layer.N, layer.Weight.Transposed), options, cancel);
            }
            catch (WeightFaultException e)
            {
                throw new ModelException($"{model.ModelPath}: node '{layer.Name}', weight '{layer.Weight.Tensor.Name}'", e.Message, e.Remedy, e);
            }
        }

        private static LayerReport Report(LinearLayer layer, WeightSummary w, long bytes, string? sharedWith) => new(
            layer.Name, layer.K, layer.N, w.Shape.Bits, w.Shape.BlockSize, bytes, sharedWith == null ? w.Bytes : 0,
            w.Error, w.MaxAccumulator, w.Amplifier, w.AmplifierMin, w.AmplifierMax, w.LoweredChannels, sharedWith);
    }
}
