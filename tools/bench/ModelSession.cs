using System.Numerics.Tensors;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Onnx.IntScale.Bench;

/// <summary>
/// A language model with a key/value cache, batch 1. Every cache input is bound to the same memory as the output that continues it,
/// with room for all tokens, so that attention appends to it in place and nothing is copied between runs.
/// </summary>
internal sealed class ModelSession : IDisposable
{
    private const string Past = "past_key_values";

    private readonly OrtHost _host;
    private readonly InferenceSession _session;
    private readonly OrtIoBinding _binding;
    private readonly List<OrtValue> _caches = [];
    private readonly Memory<long> _ones;
    private readonly bool _hasPositions;
    private OrtValue _logits;

    /// <summary>Loads a model.</summary>
    /// <param name="host">Whose threads it uses.</param>
    /// <param name="path">The .onnx file.</param>
    /// <param name="capacity">Tokens that the cache must hold.</param>
    /// <exception cref="BenchException">It is no such model.</exception>
    public ModelSession(OrtHost host, string path, int capacity)
    {
        (_host, Path) = (host, path);
        _ones = Enumerable.Repeat(1L, capacity).ToArray();
        using var options = new SessionOptions { LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
        options.DisablePerSessionThreads();
        IntScaleOps.Register(options);
        _session = new InferenceSession(path, options);
        _hasPositions = _session.InputMetadata.ContainsKey("position_ids");
        if (!_session.OutputMetadata.TryGetValue("logits", out var logits) || logits.Dimensions is not [_, _, > 0 and var vocabulary])
            throw new BenchException($"{path}: has no output logits [batch, tokens, vocabulary]");
        (Vocabulary, LogitsType) = (vocabulary, logits.ElementDataType);
        _binding = _session.CreateIoBinding();
        foreach (var name in _session.InputNames.Where(n => n.StartsWith(Past, StringComparison.Ordinal)))
        {
            var info = _session.InputMetadata[name];
            var cache = OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, info.ElementDataType, [1, info.Dimensions[1], capacity, info.Dimensions[3]]);
            _caches.Add(cache);
            _binding.BindInput(name, cache);
            _binding.BindOutput("present" + name[Past.Length..], cache);
        }

        _logits = NewLogits(1);
    }

    /// <summary>The .onnx file.</summary>
    public string Path { get; }

    /// <summary>Tokens of the vocabulary.</summary>
    public int Vocabulary { get; }

    /// <summary>Type of the logits.</summary>
    public TensorElementType LogitsType { get; }

    /// <summary>Tokens in the cache.</summary>
    public int Length { get; private set; }

    /// <summary>Empties the cache.</summary>
    public void Clear() => Length = 0;

    /// <summary>Makes room for the logits of so many tokens, ahead of the run that is timed.</summary>
    public void Prepare(int tokens)
    {
        if (Rows == tokens) return;
        _logits.Dispose();
        _logits = NewLogits(tokens);
    }

    /// <summary>Runs tokens after those in the cache, which then has them too.</summary>
    public void Run(Memory<long> tokens)
    {
        Prepare(tokens.Length);
        var total = Length + tokens.Length;
        using var ids = Integers(tokens);
        using var mask = Integers(_ones[..total]);
        _binding.BindInput("input_ids", ids);
        _binding.BindInput("attention_mask", mask);
        _binding.BindOutput("logits", _logits);
        if (_hasPositions)
        {
            using var positions = Integers(Enumerable.Range(Length, tokens.Length).Select(i => (long)i).ToArray());
            _binding.BindInput("position_ids", positions);
            _host.Run(_session, _binding);
        }
        else
        {
            _host.Run(_session, _binding);
        }

        Length = total;
    }

    /// <summary>The most likely token after each of the last run's.</summary>
    /// <exception cref="BenchException">A logit is NaN or infinite.</exception>
    public int[] TopTokens()
    {
        var row = new float[Vocabulary];
        var tops = new int[Rows];
        for (var i = 0; i < tops.Length; i++)
        {
            var first = i * Vocabulary;
            if (LogitsType == TensorElementType.Float16)
                TensorPrimitives.ConvertToSingle(System.Runtime.InteropServices.MemoryMarshal.Cast<byte, Half>(_logits.GetTensorMutableRawData()).Slice(first, Vocabulary), row);
            else
                _logits.GetTensorDataAsSpan<float>().Slice(first, Vocabulary).CopyTo(row);
            if (!float.IsFinite(TensorPrimitives.MaxMagnitude<float>(row))) throw new BenchException($"{Path}: a logit of token {i} is not finite; not timed");
            tops[i] = TensorPrimitives.IndexOfMax<float>(row);
        }

        return tops;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _binding.Dispose();
        _logits.Dispose();
        _caches.ForEach(c => c.Dispose());
        _session.Dispose();
    }

    private int Rows => (int)_logits.GetTensorTypeAndShape().Shape[1];

    private OrtValue NewLogits(int rows) => OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, LogitsType, [1, rows, Vocabulary]);

    private static OrtValue Integers(Memory<long> values) => OrtValue.CreateTensorValueFromMemory(OrtMemoryInfo.DefaultInstance, values, [1, values.Length]);
}
