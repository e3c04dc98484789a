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
    /// <exception cref="ModelException">Bad input or options; says where and what to do.</exception>
    /// <exception cref="IOException">The output cannot be written (disk full, read-only).</exception>
    public static ConversionReport Convert(
        string input, string output, ConvertOptions options, IProgress<ConversionProgress>? progress = null, CancellationToken cancel = default)
    {
        if (options.Quantize.Fault() is { } fault) throw new ModelException("options", fault);
        var (model, index, found) = Open(input, options);
        var plan = OutputPlan.For(input, output, options.Force);
        var bytesBefore = SizeOf(model);
        if (found.Layers.Count == 0) return new(model.ModelPath, plan.Output, [], found.Skipped, bytesBefore, bytesBefore, []);

        using var writer = new ModelWriter(plan.Output);
        var work = new Work(model, index, options.Quantize, writer, progress, cancel, bytesBefore);
        var reports = work.Rewrite(found.Layers);
        work.Patch.Apply(model.Proto);
        work.CopyRemaining();
        foreach (var file in plan.Companions) writer.CopyFile(file);
        cancel.ThrowIfCancellationRequested();
        var dataBytes = writer.DataBytes;
        writer.Commit(model.Proto);
        return new(model.ModelPath, plan.Output, reports, found.Skipped, bytesBefore, dataBytes + new FileInfo(plan.Output).Length, plan.Companions);
    }

    private static (ModelFile Model, GraphIndex Index, FoundLayers Layers) Open(string input, ConvertOptions options)
    {
        var model = ModelFile.Load(input);
        if (model.Proto.Graph.Node.FirstOrDefault(Ops.IsIntScale) is { } node)
            throw new ModelException($"{model.ModelPath}: node '{Ops.NameOf(node)}'", "this model is converted already", "convert the float16 model it was made from");
        foreach (var tensor in TensorWalk.Tensors(model.Proto)) model.Check(tensor);
        var index = new GraphIndex(model.Proto.Graph);
        return (model, index, LinearLayerFinder.Find(model, index, options.Include, options.Exclude));
    }

    private static long SizeOf(ModelFile model) =>
        new FileInfo(model.ModelPath).Length + TensorWalk.Tensors(model.Proto).Where(ExternalData.IsExternal).Sum(model.Check);

    /// <summary>The state of one conversion.</summary>
    private sealed class Work(
        ModelFile model, GraphIndex index, QuantizeOptions options, ModelWriter writer, IProgress<ConversionProgress>? progress, CancellationToken cancel, long total)
    {
        private readonly List<(WeightSource Source, WeightSummary Weight, IReadOnlyList<TensorProto> Initializers, string Layer)> _quantized = [];
        private readonly List<(NodeProto, NodeProto)> _replacements = [];
        private long _done;

        public Patch Patch => new(_replacements, [.. _quantized.SelectMany(q => q.Initializers)], Ops.Domain, Ops.DomainVersion);

        public List<LayerReport> Rewrite(IReadOnlyList<LinearLayer> layers)
        {
            var reports = new List<LayerReport>();
            foreach (var layer in layers)
            {
                cancel.ThrowIfCancellationRequested();
                progress?.Report(new(layer.Name, _done, total));
                var bytes = model.Check(layer.Weight.Tensor);
                var quantized = _quantized.Find(q => ReferenceEquals(q.Source.Tensor, layer.Weight.Tensor) && q.Source.Transposed == layer.Weight.Transposed);
                var shared = quantized.Layer != null;
                if (!shared)
                {
                    var weight = Quantize(layer);
                    quantized = (layer.Weight, weight.Summary, IntScaleRewrite.Write(writer, weight, layer.Weight.Name, index), layer.Name);
                    _quantized.Add(quantized);
                    _done += bytes;
                }

                _replacements.Add((layer.Node, IntScaleRewrite.Node(layer, quantized.Weight, quantized.Initializers)));
                reports.Add(Report(layer, quantized.Weight, bytes, shared ? quantized.Layer : null));
                progress?.Report(new(layer.Name, _done, total, reports[^1]));
            }

            return reports;
        }

        public void CopyRemaining()
        {
            var written = _quantized.SelectMany(q => q.Initializers).ToHashSet<object>(ReferenceEqualityComparer.Instance);
            foreach (var tensor in TensorWalk.Tensors(model.Proto).Where(t => ExternalData.IsExternal(t) && !written.Contains(t)))
            {
                cancel.ThrowIfCancellationRequested();
                progress?.Report(new($"copying {tensor.Name}", _done, total));
                _done += writer.CopyExternal(model, tensor);
            }

            progress?.Report(new("finishing", total, total));
        }

        private QuantizedWeight Quantize(LinearLayer layer)
        {
            using var data = model.Read(layer.Weight.Tensor);
            try
            {
                return WeightQuantizer.Quantize(new WeightMatrix(data, layer.Type, layer.K, layer.N, layer.Weight.Transposed), options);
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
