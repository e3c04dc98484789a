using Microsoft.ML.OnnxRuntime;

namespace Onnx.IntScale.Bench;

/// <summary>
/// One operator in as many sessions as it has weight sets. Each run takes the next set, so that the weights come from memory and not
/// from the cache, as they do in a model with many layers.
/// </summary>
internal sealed class RotatingOperator(OrtHost host, BenchOperator op, MatMulShape shape, long workingSet) : IDisposable
{
    private const int MaxSets = 256;

    private readonly List<InferenceSession> _sessions = [];
    private readonly List<OrtIoBinding> _bindings = [];
    private int _next;

    /// <summary>The operator.</summary>
    public BenchOperator Operator => op;

    /// <summary>Number of weight sets: together they exceed the working set, and there are at least two.</summary>
    public int Sets { get; } = (int)Math.Clamp((workingSet / op.WeightBytes(shape)) + 1, 2, MaxSets);

    /// <summary>Opens a session for one more weight set.</summary>
    public void Add(WeightSet weights) => _sessions.Add(OrtHost.Open(op.Model(weights)));

    /// <summary>Makes further runs use these tensors, starting at the first weight set.</summary>
    public void Bind(OrtValue a, OrtValue y)
    {
        Unbind();
        _bindings.AddRange(_sessions.Select(s => OrtHost.Bind(s, a, y)));
    }

    /// <summary>Lets the tensors go.</summary>
    public void Unbind()
    {
        _bindings.ForEach(b => b.Dispose());
        _bindings.Clear();
        _next = 0;
    }

    /// <summary>Runs the next weight set.</summary>
    public void Run()
    {
        host.Run(_sessions[_next], _bindings[_next]);
        _next = (_next + 1) % _sessions.Count;
    }

    /// <summary>Bytes that a call with M rows moves if everything is moved once.</summary>
    public long BytesMoved(int m) => op.WeightBytes(shape) + ((long)m * (shape.K + shape.N) * sizeof(float));

    /// <inheritdoc/>
    public void Dispose()
    {
        Unbind();
        _sessions.ForEach(s => s.Dispose());
    }
}
