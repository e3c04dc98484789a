using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Onnx.IntScale.Bench;

/// <summary>What to measure.</summary>
/// <param name="Shapes">Weight matrices.</param>
/// <param name="M">Numbers of rows of A.</param>
/// <param name="Operators">In the order of their turns; one is the float16 product.</param>
/// <param name="Nodes">Nodes of a graph, or 0 for at least 8 and so many that int4 weights exceed 4 times the L2 cache.</param>
/// <param name="SecondsPerRow">Time for each operator at each shape.</param>
/// <param name="Graphs">Whether runs are replayed from CUDA graphs.</param>
/// <param name="Roofline">What the GPU can do.</param>
/// <param name="Cuda">Whether there is to be a GPU; without, everything runs on the CPU, to test the benchmark itself.</param>
internal sealed record CudaBenchOptions(
    IReadOnlyList<MatMulShape> Shapes, IReadOnlyList<int> M, IReadOnlyList<CudaOperator> Operators, int Nodes, double SecondsPerRow, bool Graphs, Roofline Roofline, bool Cuda);

/// <summary>Shape → write every operator's model and open it → M: check what they compute, time them in turn.</summary>
internal static class CudaBench
{
    private const int LeastNodes = 8;
    private const int MostNodes = 64;
    private const long L2Unknown = 50 << 20;

    /// <summary>Measures everything.</summary>
    /// <exception cref="BenchException">An operator computes something else than it should, or there is no GPU.</exception>
    public static IReadOnlyList<CudaRow> Run(CudaBenchOptions options, Action<string> progress)
    {
        var rows = new List<CudaRow>();
        using var host = new CudaHost(options.Cuda, options.Graphs);
        foreach (var shape in options.Shapes)
        {
            using var folder = new ScratchFolder();
            var nodes = options.Nodes > 0 ? options.Nodes : NodesFor(shape);
            progress($"{shape.K} x {shape.N}: making {nodes} weight sets");
            var sets = Enumerable.Range(0, nodes).Select(i => RandomCodes.Draw(shape, (ulong)(i + 1), 1 / Math.Sqrt(shape.K))).ToList();
            var sessions = new List<NodeSession>();
            try
            {
                foreach (var op in options.Operators.Where(o => !o.HopperLayout || (options.Cuda && HopperCodes.Suits(shape))))
                {
                    var path = folder[op.FileName];
                    if (!File.Exists(path)) NodesModel.Write(path, op, sets);
                    progress($"{shape.K} x {shape.N}: opening {op.Name}");
                    try
                    {
                        sessions.Add(new NodeSession(host, op, path));
                    }
                    catch (OnnxRuntimeException e) when (op.HopperLayout)
                    {
                        progress($"{op.Name} is left out: {e.Message.ReplaceLineEndings(" ")}");
                    }
                }

                foreach (var m in options.M)
                {
                    var lineup = Measure(host, sessions, sets, m, options, progress);
                    rows.AddRange(lineup);
                    progress($"{shape.K} x {shape.N}, M={m}: " + string.Join(", ", lineup.Select(r => Text.F($"{r.Operator} {r.Us:F1} µs"))));
                }
            }
            finally
            {
                sessions.ForEach(s => s.Dispose());
            }
        }

        return rows;
    }

    /// <summary>Weight sets that no cache holds: at least 8, and so many that int4 weights exceed 4 times the L2 cache.</summary>
    public static int NodesFor(MatMulShape shape)
    {
        var l2 = Gpu.First()?.L2Bytes is > 0 and var bytes ? bytes : L2Unknown;
        return (int)Math.Clamp((4 * l2 / ((long)shape.N * shape.RowBytes)) + 1, LeastNodes, MostNodes);
    }

    private static List<CudaRow> Measure(CudaHost host, List<NodeSession> sessions, IReadOnlyList<WeightSet> sets, int m, CudaBenchOptions options, Action<string> progress)
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
            var times = PairedTimer.Measure([.. sessions.Select(s => (Action)s.Run)], TimeSpan.FromSeconds(options.SecondsPerRow * sessions.Count));
            // What was timed are other runs than those checked, replayed ones where there are CUDA graphs.
            if (host.Graphs) CudaCheck.Run(host, sessions, sets, activations, y, $"{where}, replayed");
            return Rows(sessions, times, shape, m, sets.Count, options.Roofline);
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
