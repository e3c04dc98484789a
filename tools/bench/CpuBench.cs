using System.Globalization;
using Microsoft.ML.OnnxRuntime;

namespace Onnx.IntScale.Bench;

/// <summary>What to measure.</summary>
/// <param name="Shapes">Weight matrices.</param>
/// <param name="M">Numbers of rows of A.</param>
/// <param name="Threads">Sizes of ONNX Runtime's intra-op pool.</param>
/// <param name="SecondsPerRow">Time for each operator at each shape.</param>
/// <param name="WorkingSet">Bytes that the weight sets of an operator should exceed.</param>
/// <param name="Patience">How long to wait, and to measure again, where other processes use the machine too.</param>
internal sealed record CpuBenchOptions(
    IReadOnlyList<MatMulShape> Shapes, IReadOnlyList<int> M, IReadOnlyList<int> Threads, double SecondsPerRow, long WorkingSet, TimeSpan Patience);

/// <summary>What was measured.</summary>
/// <param name="OverheadUs">Median time of a Run that computes nothing, by number of threads.</param>
/// <param name="OtherCores">Cores that other processes kept busy during each line-up's timing (<see cref="OtherLoad"/>).</param>
/// <param name="Rows">One row for each operator, shape, M and number of threads.</param>
internal sealed record CpuBenchResult(IReadOnlyDictionary<int, double> OverheadUs, IReadOnlyList<double> OtherCores, IReadOnlyList<BenchRow> Rows);

/// <summary>Threads → shape → M: build every operator's sessions, check what they compute, time them in turn.</summary>
internal static class CpuBench
{
    /// <summary>Measures everything.</summary>
    /// <exception cref="BenchException">An operator computes something else than it should.</exception>
    public static CpuBenchResult Run(CpuBenchOptions options, Action<string> progress)
    {
        var overhead = new SortedDictionary<int, double>();
        var rows = new List<BenchRow>();
        var otherCores = new List<double>();
        foreach (var threads in options.Threads)
        {
            using var host = new OrtHost(threads);
            overhead[threads] = host.OverheadUs();
            foreach (var shape in options.Shapes)
            {
                var operators = BenchOperator.All.Select(o => new RotatingOperator(host, o, shape, options.WorkingSet)).ToList();
                try
                {
                    progress($"{shape.K} x {shape.N}, threads={threads}: building {string.Join(" + ", operators.Select(o => o.Sets))} weight sets");
                    Fill(operators, shape);
                    foreach (var m in options.M)
                    {
                        var (lineup, load) = MeasureQuietly(operators, shape, m, threads, options);
                        rows.AddRange(lineup);
                        otherCores.Add(load);
                        progress(F($"{shape.K} x {shape.N}, threads={threads}, M={m}: ") + string.Join(", ", lineup.Select(r => F($"{r.Operator} {r.Us:F0} µs")))
                            + F($"; other processes kept {load:F2} cores busy"));
                    }
                }
                finally
                {
                    operators.ForEach(o => o.Dispose());
                }
            }
        }

        return new(overhead, otherCores, rows);
    }

    private static void Fill(IReadOnlyList<RotatingOperator> operators, MatMulShape shape)
    {
        for (var i = 0; i < operators.Max(o => o.Sets); i++)
        {
            var weights = WeightSet.Random(shape, i);
            foreach (var op in operators.Where(o => i < o.Sets)) op.Add(weights);
        }
    }

    /// <summary>Measures a line-up, again and again while the machine is not quiet and patience lasts; the quietest time counts.</summary>
    private static (IReadOnlyList<BenchRow> Rows, double OtherCores) MeasureQuietly(
        IReadOnlyList<RotatingOperator> operators, MatMulShape shape, int m, int threads, CpuBenchOptions options)
    {
        var deadline = DateTime.UtcNow + options.Patience;
        (IReadOnlyList<BenchRow> Rows, double OtherCores)? best = null;
        do
        {
            OtherLoad.WaitForQuiet(deadline);
            var load = new OtherLoad();
            var rows = Measure(operators, shape, m, threads, options.SecondsPerRow);
            var cores = load.Cores();
            if (!(cores >= best?.OtherCores)) best = (rows, cores);
        }
        while (best.Value.OtherCores > OtherLoad.Quiet && DateTime.UtcNow < deadline);

        return best.Value;
    }

    private static IReadOnlyList<BenchRow> Measure(IReadOnlyList<RotatingOperator> operators, MatMulShape shape, int m, int threads, double secondsPerRow)
    {
        using var a = Activations(m, shape.K);
        using var y = OrtHost.Tensor(m, shape.N);
        foreach (var op in operators) op.Bind(a, y);
        try
        {
            Check(operators, y, $"K={shape.K}, N={shape.N}, M={m}");
            var times = PairedTimer.Measure([.. operators.Select(o => (Action)o.Run)], TimeSpan.FromSeconds(secondsPerRow * operators.Count));
            var baseline = times[operators.ToList().FindIndex(o => o.Operator.Name == BenchOperator.Baseline)];
            return [.. operators.Select((o, i) =>
            {
                var seconds = PairedTimer.Median(times[i]);
                return new BenchRow(shape.K, shape.N, m, threads, o.Operator.Name, o.Operator.KernelFor(m), seconds * 1e6,
                    2.0 * m * shape.N * shape.K / seconds / 1e9, o.BytesMoved(m) / seconds / 1e9, PairedTimer.MedianRatio(baseline, times[i]));
            })];
        }
        finally
        {
            foreach (var op in operators) op.Unbind();
        }
    }

    /// <summary>Compares every operator's product of the first weight set with the float one, the last operator's.</summary>
    private static void Check(IReadOnlyList<RotatingOperator> operators, OrtValue y, string where)
    {
        var outputs = operators.Select(o =>
        {
            y.GetTensorMutableDataAsSpan<float>().Clear();
            o.Run();
            return y.GetTensorDataAsSpan<float>().ToArray();
        }).ToList();
        foreach (var (op, output) in operators.Zip(outputs))
        {
            var error = RelativeError(outputs[^1], output);
            if (!(error <= op.Operator.MaxError))
            {
                throw new BenchException(F(
                    $"{op.Operator.Name} is wrong at {where}: relative error {error:G3} against the float product, at most {op.Operator.MaxError:G3} expected; not timed"));
            }
        }
    }

    /// <summary>‖y - ŷ‖ / ‖y‖; NaN where either holds one or y is zero.</summary>
    private static double RelativeError(float[] expected, float[] actual)
    {
        var (difference, norm) = (0.0, 0.0);
        for (var i = 0; i < expected.Length; i++)
        {
            var d = (double)expected[i] - actual[i];
            difference += d * d;
            norm += (double)expected[i] * expected[i];
        }

        return Math.Sqrt(difference / norm);
    }

    /// <summary>Standard normal, seeded by M.</summary>
    private static OrtValue Activations(int m, int k)
    {
        var random = new Random(m);
        var tensor = OrtHost.Tensor(m, k);
        foreach (ref var value in tensor.GetTensorMutableDataAsSpan<float>())
            value = (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
        return tensor;
    }

    private static string F(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
