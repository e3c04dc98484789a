namespace Onnx.IntScale;

/// <summary>What an accuracy diff runs.</summary>
/// <param name="Tokens">A .npy file of token ids made with the models' tokenizer.</param>
public sealed record DiffOptions(string Tokens)
{
    /// <summary>Tokens of a window; each window is run from an empty cache.</summary>
    public int WindowLength { get; init; } = 512;

    /// <summary>Windows, from the start of the file; null for all that fit.</summary>
    public int? Windows { get; init; }

    /// <summary>How many of the windows, from the first, also measure every rewritten layer; 0 for none. A few thousand tokens settle an SQNR to 0.1 dB.</summary>
    public int LayerWindows { get; init; } = 4;

    /// <summary>Threads of ONNX Runtime and of the diff's own maths; 0 for one per core.</summary>
    public int Threads { get; init; }

    /// <summary>Says what is wrong with the options, or null.</summary>
    public string? Fault() => this switch
    {
        { WindowLength: < 2 } => $"window length {WindowLength} is too small; use 2 or more",
        { Windows: < 1 } => $"{Windows} windows are too few; use 1 or more",
        { LayerWindows: < 0 } => $"{LayerWindows} layer windows; use 0 or more",
        { Threads: < 0 } => $"{Threads} threads; use 0 for one per core, or more",
        _ => null,
    };
}

/// <summary>How far an accuracy diff is.</summary>
/// <param name="Window">Windows done.</param>
/// <param name="Windows">Windows in all.</param>
/// <param name="ReferencePerplexity">Of the windows done.</param>
/// <param name="ConvertedPerplexity">Of the windows done.</param>
/// <param name="MeanKl">Of the windows done, in nats.</param>
/// <param name="Step">What is being done before the first window, or null.</param>
public sealed record DiffProgress(int Window, int Windows, double ReferencePerplexity, double ConvertedPerplexity, double MeanKl, string? Step = null);
