using Microsoft.ML.OnnxRuntime;

namespace Onnx.IntScale;

/// <summary>Sums the errors of rewritten layers over windows.</summary>
/// <param name="converted">The converted model; a layer's weights are read from its file when they are needed, one layer at a time.</param>
/// <param name="taps">The layers.</param>
/// <param name="threads">Degree of parallelism; -1 for one per core.</param>
/// <param name="cancel">Stops within a layer.</param>
public sealed class LayerMeter(ModelFile converted, IReadOnlyList<LayerTap> taps, int threads, CancellationToken cancel = default)
{
    private readonly GraphIndex _index = new(converted.Proto.Graph);
    private readonly ErrorSum[] _local = new ErrorSum[taps.Count];
    private readonly ErrorSum[] _accumulated = new ErrorSum[taps.Count];
    private readonly string?[] _notes = [.. taps.Select(t => t.Note)];
    private readonly ParallelOptions _parallel = new() { MaxDegreeOfParallelism = threads, CancellationToken = cancel };

    /// <summary>Values of the reference to ask for.</summary>
    public IReadOnlyList<string> ReferenceNames => [.. taps.Where(t => t.Input != null).SelectMany(t => new[] { t.Input!, t.Output }).Distinct()];

    /// <summary>Values of the converted model to ask for.</summary>
    public IReadOnlyList<string> ConvertedNames => [.. taps.Where(t => t.Input != null).Select(t => t.Output).Distinct()];

    /// <summary>Adds one window.</summary>
    /// <param name="reference">Values by name, at least <see cref="ReferenceNames"/>.</param>
    /// <param name="other">The converted model's values by name, at least <see cref="ConvertedNames"/>.</param>
    public void Add(IReadOnlyDictionary<string, OrtValue> reference, IReadOnlyDictionary<string, OrtValue> other)
    {
        for (var i = 0; i < taps.Count; i++)
        {
            if (taps[i].Input is not { } input || _notes[i] != null) continue;
            var a = TensorRows.Of(reference[input], $"value '{input}' of the reference");
            var y = TensorRows.Of(reference[taps[i].Output], $"value '{taps[i].Output}' of the reference");
            var accumulated = TensorRows.Of(other[taps[i].Output], $"value '{taps[i].Output}' of the converted model");
            var shape = taps[i].Node.Shape;
            if (a.Columns != shape.K || y.Columns != shape.N || a.Rows != y.Rows || accumulated.Rows != y.Rows || accumulated.Columns != y.Columns)
            {
                _notes[i] = $"the reference's layer is {a.Rows}x{a.Columns} -> {y.Rows}x{y.Columns}, this one K={shape.K}, N={shape.N}";
                continue;
            }

            var node = taps[i].Node;
            _accumulated[i] += ParallelWork.Unwrap(() => Compare(y, accumulated));
            _local[i] += ParallelWork.Unwrap(() => Local(node, a, y));
        }
    }

    /// <summary>What was measured, in graph order.</summary>
    public IReadOnlyList<LayerDiff> Report() => [.. taps.Select((tap, i) => _notes[i] is { } note
        ? new LayerDiff(tap.Node.Name, null, null, null, null) { Note = note }
        : LayerDiff.Of(tap.Node.Name, _local[i], _accumulated[i]))];

    /// <summary>The layer's own error: our kernels, which give the operator's bits, on the reference's activations.</summary>
    private unsafe ErrorSum Local(IntScaleNode node, TensorRows a, TensorRows reference)
    {
        using var weights = node.Load(converted, _index);
        using var bias = node.LoadBias(converted, _index, a.Type);
        var plan = CpuKernels.Plan(a.Rows);
        using var scratch = new TensorBuffer(MatMulJob.ScratchBytes(node.Shape, plan.ScratchRows(a.Rows)));
        using var y = new TensorBuffer((long)a.Rows * node.Shape.N * Elements.SizeOf(a.Type));
        var job = new MatMulJob { Weights = weights.View, Plan = plan, M = a.Rows, Type = a.Type, A = a.Data, Y = y.Data, Bias = bias == null ? null : bias.Data };
        job.UseScratch(scratch.Data);
        Parallel.For(0, IntScaleMatMul.QuantizeTasks(job), _parallel, task => IntScaleMatMul.Quantize(job, task));
        Parallel.For(0, IntScaleMatMul.TileTasks(job), _parallel, task => IntScaleMatMul.ComputeTiles(job, task));
        return Compare(reference, new TensorRows(a.Type, y.Data, a.Rows, node.Shape.N));
    }

    /// <summary>Rows in parallel, their sums in order: the same result whatever the threads.</summary>
    private ErrorSum Compare(TensorRows reference, TensorRows other)
    {
        var rows = new ErrorSum[reference.Rows];
        Parallel.For(0, rows.Length, _parallel, () => (new float[reference.Columns], new float[reference.Columns]), (i, _, buffers) =>
        {
            reference.Load(i, buffers.Item1);
            other.Load(i, buffers.Item2);
            rows[i] = DiffMetrics.Error(buffers.Item1, buffers.Item2);
            return buffers;
        }, _ => { });
        return rows.Aggregate((a, b) => a + b);
    }
}
