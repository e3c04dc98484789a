using System.Numerics.Tensors;
using Microsoft.ML.OnnxRuntime;

namespace Onnx.IntScale;

/// <summary>How evaluation tokens are drawn from a model.</summary>
public sealed record SampleOptions
{
    /// <summary>Tokens to draw.</summary>
    public int Count { get; init; } = 8192;

    /// <summary>Tokens after which the model starts again from an empty cache; give the same to <see cref="DiffOptions.WindowLength"/>.</summary>
    public int WindowLength { get; init; } = 512;

    /// <summary>Seed; the same seed gives the same tokens on the same machine and thread count.</summary>
    public int Seed { get; init; } = 1;

    /// <summary>Divides the logits; 1 draws from the model's own distribution.</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>Draws only among this many most likely tokens; 0 for all.</summary>
    public int TopK { get; init; }

    /// <summary>Threads of ONNX Runtime; 0 for one per core.</summary>
    public int Threads { get; init; }

    /// <summary>Says what is wrong with the options, or null.</summary>
    public string? Fault() => this switch
    {
        { Count: < 1 } => $"count {Count} is too small; use 1 or more",
        { WindowLength: < 2 } => $"window length {WindowLength} is too small; use 2 or more",
        { Temperature: not (> 0 and < double.PositiveInfinity) } => $"temperature {Temperature} must be positive",
        { TopK: < 0 } => $"top-k {TopK}; use 0 for all tokens, or more",
        { Threads: < 0 } => $"{Threads} threads; use 0 for one per core, or more",
        _ => null,
    };
}

/// <summary>
/// Draws a small evaluation text from a model itself, for models that come without one. Windows are laid out as
/// <see cref="ModelDiff"/> reads them: each starts from an empty cache, and its first token continues the window before it.
/// </summary>
public static class TokenSampler
{
    /// <summary>Draws tokens.</summary>
    /// <param name="modelPath">A .onnx file, or a folder with a model.onnx. Without a key/value cache each token costs a run of its whole window.</param>
    /// <param name="options">Count, seed and the like.</param>
    /// <param name="progress">Told how many tokens are drawn.</param>
    /// <param name="cancel">Stops, also within a run.</param>
    /// <exception cref="ModelException">The model cannot be used; says where and what to do.</exception>
    public static int[] Sample(string modelPath, SampleOptions options, IProgress<int>? progress = null, CancellationToken cancel = default)
    {
        if (options.Fault() is { } fault) throw new ModelException("options", fault);
        using var model = LanguageModel.Open(ModelFile.Load(modelPath), options.Threads);
        using var stop = cancel.Register(model.Stop);
        var random = new Random(options.Seed);
        var tokens = new int[options.Count];
        var logits = new float[model.Vocabulary];
        var next = random.Next(model.Vocabulary);
        for (var start = 0; start < tokens.Length; start += options.WindowLength)
        {
            using var decoder = new Decoder(model);
            for (var i = start; i < Math.Min(tokens.Length, start + options.WindowLength); i++)
            {
                cancel.ThrowIfCancellationRequested();
                tokens[i] = next;
                decoder.Next(tokens.AsSpan(start, i - start + 1), logits);
                next = Draw(logits, random.NextDouble(), options.Temperature, options.TopK);
                if (next < 0)
                    throw new ModelException(
                        model.ModelPath, $"gives logits that are NaN or infinite after {i - start + 1} tokens",
                        "export it with higher precision");
                progress?.Report(i + 1);
            }
        }

        return tokens;
    }

    /// <summary>The token at a place of the cumulative distribution softmax(logits / temperature).</summary>
    /// <param name="logits">Logits [vocabulary].</param>
    /// <param name="place">0 (inclusive) to 1 (exclusive).</param>
    /// <param name="temperature">Divides the logits.</param>
    /// <param name="topK">Only tokens at least as likely as the k-th most likely count; 0 for all.</param>
    /// <returns>A token id, or -1 where a logit is NaN or +∞.</returns>
    public static int Draw(ReadOnlySpan<float> logits, double place, double temperature = 1, int topK = 0)
    {
        var max = TensorPrimitives.Max(logits);
        if (!float.IsFinite(max)) return -1;
        var floor = float.NegativeInfinity;
        if (topK > 0 && topK < logits.Length)
        {
            var sorted = logits.ToArray();
            Array.Sort(sorted);
            floor = sorted[^topK];
        }

        var weights = new double[logits.Length];
        var total = 0.0;
        for (var i = 0; i < weights.Length; i++)
        {
            weights[i] = logits[i] >= floor ? Math.Exp((logits[i] - max) / temperature) : 0;
            total += weights[i];
        }

        var last = 0;
        var left = place * total;
        for (var i = 0; i < weights.Length; i++)
        {
            if (weights[i] == 0) continue;
            last = i;
            if ((left -= weights[i]) < 0) break;
        }

        return last;
    }

    /// <summary>One window in the making: keeps the model's cache from step to step, if it has one.</summary>
    private sealed class Decoder(LanguageModel model) : IDisposable
    {
        private readonly string[] _outputs = [model.Logits, .. model.Cache.Select(c => c.Present)];
        private IDisposableReadOnlyCollection<OrtValue>? _last;

        /// <summary>Logits after the last of the window's tokens; those before it were given in earlier calls.</summary>
        public void Next(ReadOnlySpan<int> window, Span<float> logits)
        {
            var cached = model.Cache.Count > 0 ? window.Length - 1 : 0;
            var past = _last == null
                ? null
                : model.Cache.Select((c, i) => (c.Past, Value: _last[i + 1])).ToDictionary(c => c.Past, c => c.Value, StringComparer.Ordinal);
            var values = model.Run(window[cached..], _outputs, past, cached);
            _last?.Dispose();
            _last = values;
            var rows = TensorRows.Of(values[0], $"{model.ModelPath}: output '{model.Logits}'");
            rows.Load(rows.Rows - 1, logits);
        }

        public void Dispose() => _last?.Dispose();
    }
}
