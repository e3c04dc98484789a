namespace Onnx.IntScale.Bench;

/// <summary>How one run's logits differ from another's.</summary>
/// <param name="Reference">What they are compared with, in words.</param>
/// <param name="Rows">Positions of each run.</param>
/// <param name="NotFinite">Positions with a logit that is NaN or infinite, on either side; the other figures mean nothing then.</param>
/// <param name="MaxAbs">Largest |difference|.</param>
/// <param name="Relative">‖difference‖ / ‖reference‖ over all positions.</param>
/// <param name="MeanKl">Mean of KL(reference || actual) over the positions, in nats.</param>
/// <param name="MaxKl">The largest.</param>
/// <param name="Top1">Share of positions with the same top token.</param>
internal sealed record LogitsDiff(string Reference, IReadOnlyList<int> Rows, int NotFinite, double MaxAbs, double Relative, double MeanKl, double MaxKl, double Top1)
{
    /// <summary>Positions in all.</summary>
    public int Positions => Rows.Sum();

    /// <summary>In words.</summary>
    public string Line => Text.F(
        $"logits against {Reference}: {Positions} positions, max |difference| {MaxAbs:G4}, relative {Relative:G4}, KL mean {MeanKl:G4} max {MaxKl:G4}, top-1 agreement {Top1:F4}");

    /// <summary>What is wrong, in words.</summary>
    /// <param name="minTop1">Least share of positions with the same top token.</param>
    public IEnumerable<string> Faults(double minTop1)
    {
        if (NotFinite > 0) yield return $"logits are NaN or infinite at {NotFinite} positions, against {Reference}";
        if (!(Top1 >= minTop1)) yield return Text.F($"top-1 agreement {Top1:F4} is below {minTop1}, against {Reference}");
    }

    /// <summary>Compares run by run.</summary>
    /// <exception cref="BenchException">They differ in shape.</exception>
    public static LogitsDiff Of(string name, ModelTrace reference, ModelTrace actual)
    {
        var positions = new List<int>();
        var metrics = new List<RowMetrics>();
        var error = default(ErrorSum);
        foreach (var (r, a) in reference.Runs.Zip(actual.Runs))
        {
            var (wanted, got) = (TensorRows.Of(r[reference.Logits], reference.Logits), TensorRows.Of(a[actual.Logits], actual.Logits));
            if (wanted.Rows != got.Rows || wanted.Columns != got.Columns)
                throw new BenchException($"logits are [{got.Rows}, {got.Columns}] instead of [{wanted.Rows}, {wanted.Columns}], against {name}");
            var (x, y) = (new float[wanted.Columns], new float[wanted.Columns]);
            for (var i = 0; i < wanted.Rows; i++)
            {
                wanted.Load(i, x);
                got.Load(i, y);
                metrics.Add(DiffMetrics.Compare(x, y));
                error += DiffMetrics.Error(x, y);
            }

            positions.Add(wanted.Rows);
        }

        return new(
            name, positions, metrics.Count(m => !double.IsFinite(m.ReferenceSquares) || !double.IsFinite(m.ConvertedSquares)), metrics.Max(m => m.MaxAbs), error.Relative,
            metrics.Average(m => m.Kl), metrics.Max(m => m.Kl), metrics.Average(m => m.SameTop ? 1.0 : 0.0));
    }
}
