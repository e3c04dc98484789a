using System.Globalization;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Onnx.IntScale.Bench;

/// <summary>A language model on the GPU.</summary>
internal sealed class CudaModelSession : IDisposable
{
    private const string Past = "past_key_values";

    private readonly CudaHost _host;
    private readonly InferenceSession _session;

    /// <summary>Loads a model.</summary>
    /// <exception cref="BenchException">It is no such model.</exception>
    public CudaModelSession(CudaHost host, string path, IReadOnlyDictionary<string, string> config)
    {
        _host = host;
        // Lengths are computed on the CPU, where attention wants them.
        _session = host.Open(path, config, allOnDevice: false);
        if (!_session.OutputMetadata.TryGetValue("logits", out var logits) || logits.Dimensions is not [_, _, > 0 and var vocabulary] || logits.ElementDataType != TensorElementType.Float16)
            throw new BenchException($"{path}: has no output logits [batch, tokens, vocabulary] in float16");
        Vocabulary = vocabulary;
    }

    /// <summary>Tokens of the vocabulary.</summary>
    public int Vocabulary { get; }

    /// <summary>
    /// Room for the keys and values of so many tokens. Every cache is both the input and the output that continues it, so that attention
    /// appends to it in place.
    /// </summary>
    public CudaCaches Caches(int batch, int capacity)
    {
        var caches = new CudaCaches(batch, capacity);
        foreach (var name in _session.InputNames.Where(n => n.StartsWith(Past, StringComparison.Ordinal)))
        {
            var info = _session.InputMetadata[name];
            caches.Tensors.Add((name, "present" + name[Past.Length..], _host.Tensor(info.ElementDataType, batch, info.Dimensions[1], capacity, info.Dimensions[3])));
        }

        return caches;
    }

    /// <summary>
    /// A run of so many tokens after so many in the caches, bound on the device once and for all: running it again computes the same again.
    /// </summary>
    /// <param name="caches">Of this model.</param>
    /// <param name="past">Tokens in the caches, whose own place is not changed.</param>
    /// <param name="tokens">Tokens to come, [batch, tokens] in a row.</param>
    /// <param name="logits">[batch, tokens, vocabulary] on the device.</param>
    /// <param name="graph">Tells the CUDA graphs of a session apart; where graphs are in use, and above 0.</param>
    public CudaModelRun Bind(CudaCaches caches, int past, long[] tokens, OrtValue logits, int graph)
    {
        var count = tokens.Length / caches.Batch;
        var binding = _session.CreateIoBinding();
        Integers(binding, "input_ids", tokens, caches.Batch);
        Integers(binding, "attention_mask", [.. Enumerable.Repeat(1L, caches.Batch * (past + count))], caches.Batch);
        if (_session.InputMetadata.ContainsKey("position_ids"))
            Integers(binding, "position_ids", [.. Enumerable.Range(0, tokens.Length).Select(i => (long)past + (i % count))], caches.Batch);
        foreach (var (input, output, tensor) in caches.Tensors)
        {
            binding.BindInput(input, tensor);
            binding.BindOutput(output, tensor);
        }

        binding.BindOutput("logits", logits);
        binding.SynchronizeBoundInputs();
        var run = new RunOptions();
        if (_host.Graphs) run.AddRunConfigEntry("gpu_graph_id", (graph > 0 ? graph : -1).ToString(CultureInfo.InvariantCulture));
        return new(_session, binding, run);
    }

    /// <inheritdoc/>
    public void Dispose() => _session.Dispose();

    /// <summary>The most likely token in each row of logits.</summary>
    /// <exception cref="BenchException">A logit is NaN or infinite.</exception>
    public static int[] TopTokens(CudaHost host, OrtValue logits, string where)
    {
        var vocabulary = (int)logits.GetTensorTypeAndShape().Shape[^1];
        using var copy = OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, TensorElementType.Float16, logits.GetTensorTypeAndShape().Shape);
        host.Copy(logits, copy);
        var tops = new int[logits.GetTensorTypeAndShape().ElementCount / vocabulary];
        Parallel.For(0, tops.Length, i =>
        {
            var row = new float[vocabulary];
            // Half a gigabyte of bytes and more, but fewer than 2^31 float16.
            TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<Float16, Half>(copy.GetTensorDataAsSpan<Float16>()).Slice(i * vocabulary, vocabulary), row);
            tops[i] = float.IsFinite(TensorPrimitives.MaxMagnitude<float>(row)) ? TensorPrimitives.IndexOfMax<float>(row) : -1;
        });
        return Array.IndexOf(tops, -1) is >= 0 and var bad ? throw new BenchException($"{where}: a logit of token {bad} is not finite; not timed") : tops;
    }

    /// <summary>Binds numbers to an input; that copies them to wherever the model wants them, now and not when it runs.</summary>
    private static void Integers(OrtIoBinding binding, string name, long[] values, int batch)
    {
        using var tensor = OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, TensorElementType.Int64, [batch, values.Length / batch]);
        values.CopyTo(tensor.GetTensorMutableDataAsSpan<long>());
        binding.BindInput(name, tensor);
    }
}

/// <summary>Keys and values of a batch of sequences, on the device.</summary>
internal sealed class CudaCaches(int batch, int capacity) : IDisposable
{
    /// <summary>Sequences.</summary>
    public int Batch => batch;

    /// <summary>Tokens there is room for.</summary>
    public int Capacity => capacity;

    /// <summary>Names of input and output, and the memory of both.</summary>
    public List<(string Input, string Output, OrtValue Tensor)> Tensors { get; } = [];

    /// <inheritdoc/>
    public void Dispose() => Tensors.ForEach(t => t.Tensor.Dispose());
}

/// <summary>A run that is bound.</summary>
internal sealed class CudaModelRun(InferenceSession session, OrtIoBinding binding, RunOptions options) : IDisposable
{
    /// <summary>Runs and waits for the device.</summary>
    public void Run() => session.RunWithBinding(options, binding);

    /// <inheritdoc/>
    public void Dispose()
    {
        binding.Dispose();
        options.Dispose();
    }
}
