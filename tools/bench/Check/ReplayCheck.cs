using System.Runtime.InteropServices;

namespace Onnx.IntScale.Bench;

/// <summary>
/// Layers of language models one after the other in a CUDA graph, replayed again and again, every output compared each time. Kernels start
/// before the one before is over, and what is then read too early or overwritten too soon comes out wrong seldom, in large calls at
/// full speed only: single calls do not show it.
/// </summary>
/// <param name="ordinal">Number of the GPU.</param>
/// <exception cref="CudaException">There is none, or it cannot be used.</exception>
internal sealed unsafe class ReplayCheck(int ordinal) : IDisposable
{
    private const int Sets = 4;
    private const int MostNodes = 24;
    private const long MostOutputBytes = 96L << 20;
    private const byte Poison = 0xFF;

    private static readonly (int K, int N)[] Sizes = [(4096, 4096), (4096, 14336), (14336, 4096)];
    private static readonly int[] Rows = [1, 8, 16, 32, 64, 128, 256, 512, 1024];

    private readonly DeviceStream _stream = new(ordinal);

    /// <summary>All checks by name, each with what was wrong, or null.</summary>
    /// <param name="seed">Seed of the numbers.</param>
    /// <param name="replays">How often each graph is replayed.</param>
    public IEnumerable<(string Name, string? Fault)> Run(int seed, int replays)
    {
        foreach (var (k, n) in Sizes)
        {
            foreach (var block in CudaKernels.Blocks)
            {
                var shape = new MatMulShape(k, n, 4, block);
                var sets = Enumerable.Range(0, Sets).Select(i => RandomCodes.Draw(shape, (ulong)((seed * (long)Sets) + i), 1 / Math.Sqrt(k), Certificate.LargestInt8Scale)).ToList();
                foreach (var check in OfWeights(seed, sets, replays)) yield return check;
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _stream.Dispose();

    private List<(string Name, string? Fault)> OfWeights(int seed, List<WeightSet> sets, int replays)
    {
        using var use = _stream.Context.Use();
        var shape = sets[0].Shape;
        _stream.Context.Load(CudaPlanner.Modules(shape, _stream.Context.Device));
        // So many that no cache holds them: loads take as long as they do in a model.
        var weights = new List<DeviceWeights>();
        var checks = new List<(string, string?)>();
        try
        {
            for (var i = 0; i < MostNodes; i++) weights.Add(new(sets[i % Sets]));
            // The same weights may be multiplied in each of these ways.
            WeightFacts[] ways = [new(false, Certificate.DefaultLimit, short.MaxValue), new(false, Certificate.Int32Limit, short.MaxValue), new(false, Certificate.DefaultLimit, Certificate.LargestInt8Scale)];
            foreach (var m in Rows)
            {
                foreach (var plan in ways.Select(w => CudaPlanner.Plan(shape, m, ElementType.Float16, w, _stream.Context.Device)).DistinctBy(p => p.MatMul.Kernel))
                {
                    var name = $"graph: {CudaKernels.All[plan.MatMul.Kernel].Name}: M={m} K={shape.K} N={shape.N}";
                    checks.Add((name, OfPlan(name, seed, plan, weights, m, replays)));
                }
            }
        }
        finally
        {
            weights.ForEach(w => w.Dispose());
        }

        return checks;
    }

    private string? OfPlan(string name, int seed, in CudaPlan plan, List<DeviceWeights> weights, int m, int replays)
    {
        var shape = weights[0].Shape;
        var yBytes = (long)m * shape.N * sizeof(ushort);
        var nodes = (int)Math.Clamp(MostOutputBytes / yBytes / Sets * Sets, Sets, MostNodes);
        using var values = new RandomTensors(seed).Normal($"A{m}", (long)m * shape.K, 1);
        using var other = new RandomTensors(seed + 1).Normal($"A{m}", (long)m * shape.K, 1);
        var (a, y) = (new List<DeviceArray>(), new List<DeviceArray>());
        var expected = new byte[Sets][];
        var got = new byte[yBytes];
        var graph = (nint)0;
        try
        {
            a.Add(DeviceArray.Of(values)!);
            a.Add(DeviceArray.Of(other)!);
            for (var i = 0; i < nodes; i++) y.Add(new(yBytes));
            // The first ones by the plain kernel, each alone.
            for (var i = 0; i < Sets; i++)
            {
                Launch(CudaPlanner.Plain(shape, m, ElementType.Float16), weights, a, y, i, i + 1);
                expected[i] = y[i].ToHost();
            }

            using var scratch = new DeviceArray(CudaMatMul.ScratchBytes(plan));
            CudaDriver.BeginCapture(_stream.Handle);
            Queue(plan, scratch, weights, a, y, 0, nodes);
            graph = CudaDriver.EndCapture(_stream.Handle);
            for (var replay = 0; replay < replays; replay++)
            {
                foreach (var output in y) CudaDriver.Fill(output.Address, Poison, output.Bytes, _stream.Handle);
                CudaDriver.LaunchGraph(graph, _stream.Handle);
                CudaDriver.Synchronize(_stream.Handle);
                for (var i = 0; i < nodes; i++)
                {
                    fixed (byte* target = got) CudaDriver.CopyToHost(target, y[i].Address, yBytes);
                    if (Difference(expected[i % Sets], got, shape.N) is { } fault) return $"replay {replay}, node {i}: {fault}";
                }
            }

            return null;
        }
        catch (CudaException e)
        {
            throw new BenchException($"{name}: {e.Message}");
        }
        finally
        {
            if (graph != 0) CudaDriver.DestroyGraph(graph);
            a.ForEach(x => x.Dispose());
            y.ForEach(x => x.Dispose());
        }
    }

    private static string? Difference(byte[] expected, byte[] got, int n)
    {
        var at = got.AsSpan().CommonPrefixLength(expected) / sizeof(ushort);
        if (at == got.Length / sizeof(ushort)) return null;
        return $"Y[{at / n}, {at % n}] is {MemoryMarshal.Cast<byte, Half>(got)[at]}, the plain kernel says {MemoryMarshal.Cast<byte, Half>(expected)[at]}";
    }

    private void Launch(in CudaPlan plan, List<DeviceWeights> weights, List<DeviceArray> a, List<DeviceArray> y, int first, int end)
    {
        using var scratch = new DeviceArray(CudaMatMul.ScratchBytes(plan));
        Queue(plan, scratch, weights, a, y, first, end);
        CudaDriver.Synchronize(_stream.Handle);
    }

    /// <summary>Launches nodes [first, end): Sets is even, so those of the same weights have the same A.</summary>
    private void Queue(in CudaPlan plan, DeviceArray scratch, List<DeviceWeights> weights, List<DeviceArray> a, List<DeviceArray> y, int first, int end)
    {
        for (var i = first; i < end; i++)
        {
            var call = CudaParams.Of(weights[i].View(floatScales: false), (int)(y[i].Bytes / sizeof(ushort) / weights[i].Shape.N), ElementType.Float16);
            call.A = a[i % a.Count].Pointer;
            call.Y = y[i].Pointer;
            CudaMatMul.UseScratch(ref call, plan, scratch.Pointer);
            CudaMatMul.Launch(_stream.Context, plan, call, _stream.Handle);
        }
    }
}
