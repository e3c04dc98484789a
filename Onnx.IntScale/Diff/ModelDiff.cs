using Microsoft.ML.OnnxRuntime;

namespace Onnx.IntScale;

/// <summary>
/// Accuracy of a converted model: both models run the same tokens in windows, one window in memory at a time.
/// A window runs from an empty cache; its position i predicts token i+1 of the file, its last position the next window's first token
/// (which the last window of the file does not have, so that position counts in everything but perplexity).
/// </summary>
public static class ModelDiff
{
    /// <summary>Runs a diff.</summary>
    /// <param name="referencePath">The float16 model: a .onnx file, or a folder with a model.onnx.</param>
    /// <param name="convertedPath">The converted model, or any other with the same vocabulary.</param>
    /// <param name="options">Tokens, windows, layers.</param>
    /// <param name="progress">Told before each model is loaded and after each window.</param>
    /// <param name="cancel">Stops, also within a window.</param>
    /// <exception cref="ModelException">A model or the token file cannot be used; says where and what to do.</exception>
    public static DiffReport Run(
        string referencePath, string convertedPath, DiffOptions options, IProgress<DiffProgress>? progress = null, CancellationToken cancel = default)
    {
        if (options.Fault() is { } fault) throw new ModelException("options", fault);
        var (referenceFile, convertedFile) = (ModelFile.Load(referencePath), ModelFile.Load(convertedPath));
        var tokens = NpyFile.ReadTokens(options.Tokens);
        var windows = WindowsOf(tokens, options);
        var threads = options.Threads == 0 ? -1 : options.Threads;
        var meter = new LayerMeter(convertedFile, options.LayerWindows == 0 ? [] : LayerTap.Find(referenceFile, convertedFile), threads, cancel);

        progress?.Report(new(0, windows, 0, 0, 0, $"loading {referenceFile.ModelPath}"));
        using var reference = LanguageModel.Open(referenceFile, options.Threads, meter.ReferenceNames);
        cancel.ThrowIfCancellationRequested();
        progress?.Report(new(0, windows, 0, 0, 0, $"loading {convertedFile.ModelPath}"));
        using var converted = LanguageModel.Open(convertedFile, options.Threads, meter.ConvertedNames);
        using var stop = cancel.Register(() =>
        {
            reference.Stop();
            converted.Stop();
        });
        if (reference.Vocabulary != converted.Vocabulary)
            throw new ModelException(
                converted.ModelPath,
                $"its vocabulary has {converted.Vocabulary} tokens, that of {reference.ModelPath} {reference.Vocabulary}",
                "compare a model with the one it was converted from");
        CheckTokens(options.Tokens, tokens.AsSpan(0, Math.Min(tokens.Length, (windows * options.WindowLength) + 1)), reference.Vocabulary);

        progress?.Report(new(0, windows, 0, 0, 0, "running the first window"));
        var totals = new DiffTotals();
        for (var w = 0; w < windows; w++)
        {
            cancel.ThrowIfCancellationRequested();
            var start = w * options.WindowLength;
            var measured = w < options.LayerWindows;
            using var a = Values.Of(reference, tokens.AsSpan(start, options.WindowLength), measured ? meter.ReferenceNames : []);
            using var b = Values.Of(converted, tokens.AsSpan(start, options.WindowLength), measured ? meter.ConvertedNames : []);
            var rows = Compare(a.Logits(options.WindowLength), b.Logits(options.WindowLength), tokens.AsMemory(start + 1), threads);
            foreach (var row in rows)
            {
                if (!double.IsFinite(row.Kl))
                {
                    var culprit = double.IsFinite(row.ReferenceSquares) ? converted : reference;
                    throw new ModelException(
                        culprit.ModelPath, $"gives logits that are NaN or infinite at token {totals.Positions} of {options.Tokens}",
                        "a layer overflows its float type; find it, and export or convert the model without that");
                }

                totals.Add(row);
            }

            if (measured) meter.Add(a.ByName, b.ByName);
            progress?.Report(new(w + 1, windows, totals.ReferencePerplexity, totals.ConvertedPerplexity, totals.MeanKl));
        }

        return new(
            totals.Positions, windows, options.WindowLength,
            new(reference.ModelPath, totals.ReferencePerplexity), new(converted.ModelPath, totals.ConvertedPerplexity),
            totals.ConvertedPerplexity / totals.ReferencePerplexity, totals.Kl(), totals.Top1Agreement, totals.Logits(reference.Vocabulary), meter.Report());
    }

    private static int WindowsOf(int[] tokens, DiffOptions options)
    {
        var fit = tokens.Length / options.WindowLength;
        if (fit < (options.Windows ?? 1))
            throw new ModelException(
                options.Tokens,
                $"holds {tokens.Length} tokens, enough for {fit} windows of {options.WindowLength}; {options.Windows ?? 1} are asked for",
                "ask for fewer or shorter windows, or give a longer file");
        return options.Windows ?? fit;
    }

    private static void CheckTokens(string file, ReadOnlySpan<int> tokens, int vocabulary)
    {
        var at = tokens.IndexOfAnyExceptInRange(0, vocabulary - 1);
        if (at >= 0)
            throw new ModelException(
                $"{file}: position {at}", $"token id {tokens[at]} is outside the models' vocabulary of {vocabulary}",
                "make the token file with the models' tokenizer");
    }

    /// <summary>Rows in parallel into an array, which is then summed in order: the same result whatever the threads.</summary>
    private static RowMetrics[] Compare(TensorRows reference, TensorRows converted, ReadOnlyMemory<int> targets, int threads)
    {
        var rows = new RowMetrics[reference.Rows];
        var parallel = new ParallelOptions { MaxDegreeOfParallelism = threads };
        ParallelWork.Unwrap(() => Parallel.For(0, rows.Length, parallel, () => (new float[reference.Columns], new float[reference.Columns]), (i, _, buffers) =>
        {
            reference.Load(i, buffers.Item1);
            converted.Load(i, buffers.Item2);
            rows[i] = DiffMetrics.Compare(buffers.Item1, buffers.Item2, i < targets.Length ? targets.Span[i] : -1);
            return buffers;
        }, _ => { }));
        return rows;
    }

    /// <summary>What a model gave for one window.</summary>
    private sealed class Values(LanguageModel model, IDisposableReadOnlyCollection<OrtValue> values, IReadOnlyList<string> names) : IDisposable
    {
        public IReadOnlyDictionary<string, OrtValue> ByName { get; } = names.Zip(values).ToDictionary(p => p.First, p => p.Second, StringComparer.Ordinal);

        public static Values Of(LanguageModel model, ReadOnlySpan<int> tokens, IReadOnlyList<string> taps)
        {
            IReadOnlyList<string> names = [model.Logits, .. taps.Where(t => t != model.Logits)];
            return new(model, model.Run(tokens, names), names);
        }

        public TensorRows Logits(int positions)
        {
            var logits = TensorRows.Of(ByName[model.Logits], $"{model.ModelPath}: output '{model.Logits}'");
            return logits.Rows == positions && logits.Columns == model.Vocabulary
                ? logits
                : throw new ModelException(
                    model.ModelPath, $"gives logits of {logits.Rows} positions by {logits.Columns} for {positions} tokens",
                    "export it with logits for every position");
        }

        public void Dispose() => values.Dispose();
    }
}
