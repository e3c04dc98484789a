namespace Onnx.IntScale;

/// <summary>Gathers the positions of a diff, in order.</summary>
public sealed class DiffTotals
{
    private readonly List<double> _kl = [];
    private long _targets;
    private long _same;
    private double _referenceNll, _convertedNll, _maxAbs, _sumAbs, _dot, _referenceSquares, _convertedSquares;

    /// <summary>Positions so far.</summary>
    public int Positions => _kl.Count;

    /// <summary>exp of the reference's mean -ln p(target).</summary>
    public double ReferencePerplexity => Perplexity(_referenceNll);

    /// <summary>exp of the converted model's mean -ln p(target).</summary>
    public double ConvertedPerplexity => Perplexity(_convertedNll);

    /// <summary>Mean divergence in nats.</summary>
    public double MeanKl => _kl.Count == 0 ? 0 : _kl.Sum() / _kl.Count;

    /// <summary>Share of positions where both models prefer the same token.</summary>
    public double Top1Agreement => _kl.Count == 0 ? 1 : (double)_same / _kl.Count;

    /// <summary>Adds one position.</summary>
    public void Add(in RowMetrics row)
    {
        _kl.Add(row.Kl);
        if (row.SameTop) _same++;
        if (!double.IsNaN(row.ReferenceNll))
        {
            _targets++;
            _referenceNll += row.ReferenceNll;
            _convertedNll += row.ConvertedNll;
        }

        _maxAbs = Math.Max(_maxAbs, row.MaxAbs);
        _sumAbs += row.SumAbs;
        _dot += row.Dot;
        _referenceSquares += row.ReferenceSquares;
        _convertedSquares += row.ConvertedSquares;
    }

    /// <summary>Mean, median, 99 % and largest divergence.</summary>
    public KlSummary Kl()
    {
        var sorted = _kl.Order().ToArray();
        return new(MeanKl, DiffMetrics.Quantile(sorted, 0.5), DiffMetrics.Quantile(sorted, 0.99), sorted[^1]);
    }

    /// <summary>Errors of the logits themselves.</summary>
    /// <param name="vocabulary">Logits of one position.</param>
    public LogitsSummary Logits(int vocabulary)
    {
        var norms = Math.Sqrt(_referenceSquares) * Math.Sqrt(_convertedSquares);
        var cosine = norms > 0 ? Math.Clamp(_dot / norms, -1, 1) : _referenceSquares == _convertedSquares ? 1 : 0;
        return new(_maxAbs, _sumAbs / ((double)_kl.Count * vocabulary), cosine);
    }

    // Logits that no float16 model gives could overflow; a report must stay valid JSON.
    private double Perplexity(double nll) => _targets == 0 ? 1 : Math.Min(double.MaxValue, Math.Exp(nll / _targets));
}
