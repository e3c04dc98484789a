using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Onnx.IntScale.Bench;

/// <summary>What to measure.</summary>
/// <param name="Shapes">Weight matrices.</param>
/// <param name="M">Numbers of rows of A.</param>
/// <param name="Operators">In the order of their turns; one is the float16 product.</param>
/// <param name="Sets">Weight sets of a graph, or 0 for as many as <see cref="CudaBench.SetsFor"/> says.</param>
/// <param name="Repeats">Nodes of each weight set: a graph has so many times the sets.</param>
/// <param name="SecondsPerRow">Time for each operator at each shape.</param>
/// <param name="Turn">How long an operator runs before the next one's turn; the first half is not counted.</param>
/// <param name="LargestScale">Of the integer scales.</param>
/// <param name="Graphs">Whether runs are replayed from CUDA graphs.</param>
/// <param name="Roofline">What the GPU can do.</param>
/// <param name="Cuda">Whether there is to be a GPU; without, everything runs on the CPU, to test the benchmark itself.</param>
/// <param name="Library">The file that brings our operator, or null for this program's own.</param>
internal sealed record CudaBenchOptions(
    IReadOnlyList<MatMulShape> Shapes, IReadOnlyList<int> M, IReadOnlyList<CudaOperator> Operators, int Sets, int Repeats, double SecondsPerRow, TimeSpan Turn, int LargestScale, bool Graphs, Roofline Roofline, bool Cuda, string? Library = null);

/// <summary>What was measured.</summary>
/// <param name="RunUs">Median time of a Run over a graph of one tiny node: what any Run costs, however many nodes it has.</param>
/// <param name="Rows">One row for each operator, shape and M.</param>
internal sealed record CudaBenchResult(double RunUs, IReadOnlyList<CudaRow> Rows);

/// <summary>Shape → write every operator's model and open it → M: check what they compute, time them in turn.</summary>
internal static class CudaBench
{
    private const int LeastSets = 24;
    private const int MostSets = 64;
    private const long MostHalfBytes = 6_000_000_000;
    private const long L2Unknown = 50 << 20;

    // .NET compiles a method again, optimized, when it was called 30 times and no new one was called for 100 ms; until then times shrink.
    private const int FirstWarmUpRuns = 60;
    private const int WarmUpRuns = 8;
    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(0.3);
    private static readonly TimeSpan FirstWarmUp = TimeSpan.FromSeconds(1);

    /// <summary>Measures everything.</summary>
    /// <exception cref="BenchException">An operator computes something else than it should, or there is no GPU.</exception>
    public static CudaBenchResult Run(CudaBenchOptions options, Action<string> progress)
    {
        var rows = new List<CudaRow>();
        using var host = new CudaHost(options.Cuda, options.Graphs, options.Library);
        var runUs = RunUs(host);
        progress(Text.F($"a Run of one tiny node: {runUs:F1} µs"));
        foreach (var shape in options.Shapes)
        {
            using var folder = new ScratchFolder();
            var count = options.Sets > 0 ? options.Sets : SetsFor(shape);
            progress($"{shape.K} x {shape.N}: making {count} weight sets");
            var sets = Enumerable.Range(0, count).Select(i => RandomCodes.Draw(shape, (ulong)(i + 1), 1 / Math.Sqrt(shape.K), options.LargestScale)).ToList();
            var sessions = new List<NodeSession>();
            try
            {
                foreach (var op in options.Operators.Where(o => !o.HopperLayout || (options.Cuda && HopperCodes.Suits(shape))))
                {
                    var path = folder[op.FileName];
                    if (!File.Exists(path)) NodesModel.Write(path, op, sets, options.Repeats);
                    progress($"{shape.K} x {shape.N}: opening {op.Name}");
                    try
                    {
                        sessions.Add(new NodeSession(host, op, path, options.Repeats));
                    }
                    catch (OnnxRuntimeException e) when (op.HopperLayout)
                    {
                        progress($"{op.Name} is left out: {e.Message.ReplaceLineEndings(" ")}");
                    }
                }

                foreach (var m in options.M)
                {
                    var lineup = Measure(host, sessions, sets, m, rows.Count == 0, options, progress);
                    rows.AddRange(lineup);
                    progress($"{shape.K} x {shape.N}, M={m}: " + string.Join(", ", lineup.Select(r => Text.F($"{r.Operator} {r.Us:F1} µs"))));
                }
            }
            finally
            {
                sessions.ForEach(s => s.Dispose());
            }
        }

        return new(runUs, rows);
    }

    /// <summary>Weight sets that no cache holds: at least 24, and so many that int4 weights exceed 4 times the L2 cache; fewer where they would pass 6 GB in float16.</summary>
    public static int SetsFor(MatMulShape shape)
    {
        var l2 = Gpu.First()?.L2Bytes is > 0 and var bytes ? bytes : L2Unknown;
        var sets = Math.Clamp((4 * l2 / ((long)shape.N * shape.RowBytes)) + 1, LeastSets, MostSets);
        return (int)Math.Max(1, Math.Min(sets, MostHalfBytes / ((long)shape.K * shape.N * sizeof(ushort))));
    }

    /// <summary>What a Run costs: one of a single MatMul that is next to nothing.</summary>
    private static double RunUs(CudaHost host)
    {
        using var folder = new ScratchFolder();
        var shape = new MatMulShape(32, 32, 4, 32);
        var op = CudaOperator.All.Single(o => o.Name == CudaOperator.Reference);
        NodesModel.Write(folder[op.FileName], op, [RandomCodes.Draw(shape, 1, 1)], repeats: 1);
        using var session = new NodeSession(host, op, folder[op.FileName], repeats: 1);
        using var a = host.Tensor(TensorElementType.Float16, 1, shape.K);
        using var y = host.Tensor(TensorElementType.Float16, 1, shape.N);
        session.Bind(a, [y]);
        var times = PairedTimer.Measure([session.Run], WarmUp, WarmUp, FirstWarmUpRuns);
        return PairedTimer.Median(times[0]) * 1e6;
    }

    private static List<CudaRow> Measure(
        CudaHost host, List<NodeSession> sessions, IReadOnlyList<WeightSet> sets, int m, bool first, CudaBenchOptions options, Action<string> progress)
    {
        var shape = sets[0].Shape;
        using var values = new RandomTensors(m).Normal($"A{shape.K}", (long)m * shape.K, 1);
        using var a = host.Tensor(TensorElementType.Float16, m, shape.K);
        var y = sets.Select(_ => host.Tensor(TensorElementType.Float16, m, shape.N)).ToList();
        try
        {
            Upload(host, values, a);
            foreach (var session in sessions) session.Bind(a, y);
            var where = $"K={shape.K}, N={shape.N}, M={m}";
            var activations = MemoryMarshal.Cast<byte, Half>(values.Slice(0, checked((int)values.Length)));
            foreach (var optional in sessions.Where(s => s.Operator.HopperLayout).ToList())
            {
                try
                {
                    CudaCheck.Run(host, [sessions[0], optional], sets, activations, y, where);
                }
                catch (Exception e) when (e is BenchException or OnnxRuntimeException)
                {
                    progress($"{optional.Operator.Name} is left out: {e.Message.ReplaceLineEndings(" ")}");
                    sessions.Remove(optional);
                    optional.Dispose();
                }
            }

            CudaCheck.Run(host, sessions, sets, activations, y, where);
            var (warmUp, warmUpRuns) = first ? (FirstWarmUp, FirstWarmUpRuns) : (WarmUp, WarmUpRuns);
            var times = PairedTimer.Measure([.. sessions.Select(s => (Action)s.Run)], TimeSpan.FromSeconds(options.SecondsPerRow * sessions.Count), warmUp, warmUpRuns, options.Turn);
            // What was timed are other runs than those checked, replayed ones where there are CUDA graphs.
            if (host.Graphs) CudaCheck.Run(host, sessions, sets, activations, y, $"{where}, replayed");
            return Rows(sessions, times, shape, m, sets.Count * options.Repeats, options.Roofline);
        }
        finally
        {
            foreach (var session in sessions) session.Unbind();
            y.ForEach(t => t.Dispose());
        }
    }

    private static unsafe void Upload(CudaHost host, TensorBuffer values, OrtValue a)
    {
        using var from = OrtValue.CreateTensorValueWithData(OrtMemoryInfo.DefaultInstance, TensorElementType.Float16, a.GetTensorTypeAndShape().Shape, (nint)values.Data, values.Length);
        host.Copy(from, a);
    }

    private static List<CudaRow> Rows(
        IReadOnlyList<NodeSession> sessions, IReadOnlyList<IReadOnlyList<double>> times, MatMulShape shape, int m, int nodes, Roofline roofline)
    {
        var seconds = times.Select(t => PairedTimer.Median(t) / nodes).ToList();
        var others = Enumerable.Range(0, seconds.Count).Where(i => sessions[i].Operator is { Form: not WeightForm.IntScale4, HopperLayout: false }).ToList();
        var best = others.Count > 0 ? others.MinBy(i => seconds[i]) : 0;
        var ours = CudaOperator.All.Single(o => o.Name == CudaOperator.Ours);
        var least = roofline.Seconds(shape, m, ours.WeightBytes(shape));
        return [.. sessions.Select((s, i) => new CudaRow(
            shape.K, shape.N, m, shape.BlockSize, nodes, s.Operator.Name, seconds[i] * 1e6,
            2.0 * m * shape.N * shape.K / seconds[i] / 1e12, s.Operator.WeightBytes(shape) / seconds[i] / 1e9,
            least / seconds[i], PairedTimer.MedianRatio(times[best], times[i]), i == best && others.Count > 0))];
    }
}
