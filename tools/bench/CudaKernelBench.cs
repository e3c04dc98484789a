using System.Runtime.InteropServices;

namespace Onnx.IntScale.Bench;

/// <summary>Times of the kernels alone at one shape.</summary>
/// <param name="Shape">The weights.</param>
/// <param name="M">Rows of A.</param>
/// <param name="Sets">Weight sets, one after the other.</param>
/// <param name="Variant">intscale, or <see cref="CudaKernelBench.Twin"/>.</param>
/// <param name="Kernels">Names of the kernels launched.</param>
/// <param name="Us">Median time of a call in microseconds.</param>
/// <param name="Tops">2·M·N·K operations over that time, in 10^12 a second.</param>
/// <param name="WeightGbps">The weights, read once, over that time, in 10^9 bytes a second.</param>
/// <param name="RooflineShare">The least time / this time.</param>
/// <param name="Ratio">This time / that of the integer kernels.</param>
internal sealed record CudaKernelRow(MatMulShape Shape, int M, int Sets, string Variant, string Kernels, double Us, double Tops, double WeightGbps, double RooflineShare, double Ratio);

/// <summary>What to time.</summary>
/// <param name="Shapes">Weight matrices.</param>
/// <param name="M">Numbers of rows of A.</param>
/// <param name="Sets">Weight sets, or 0 for as many as <see cref="CudaBench.SetsFor"/> says.</param>
/// <param name="Rounds">Rounds, in which the variants take turns.</param>
/// <param name="LargestScale">Of the integer scales.</param>
/// <param name="Graphs">Whether the calls are replayed from a CUDA graph; otherwise the host launches each.</param>
/// <param name="Roofline">What the GPU can do.</param>
internal sealed record CudaKernelOptions(IReadOnlyList<MatMulShape> Shapes, IReadOnlyList<int> M, int Sets, int Rounds, int LargestScale, bool Graphs, Roofline Roofline);

/// <summary>The kernels without ONNX Runtime: calls with one weight set after the other on a stream, between two CUDA events.</summary>
internal sealed unsafe class CudaKernelBench : IDisposable
{
    /// <summary>The variant with float scales.</summary>
    public const string Twin = "float scales";

    // A measurement is as many passes over the sets as take about so long.
    private const double MeasureMs = 4;

    // Until clocks have risen and, where the host launches, its code is compiled for good.
    private const double WarmUpMs = 100;
    private const double FirstWarmUpMs = 1000;

    private readonly DeviceStream _stream;
    private readonly nint _start;
    private readonly nint _end;

    /// <summary>Opens a device.</summary>
    /// <exception cref="CudaException">There is none, or it cannot be used.</exception>
    public CudaKernelBench(int ordinal)
    {
        _stream = new(ordinal);
        using var use = _stream.Context.Use();
        (_start, _end) = (CudaDriver.CreateEvent(), CudaDriver.CreateEvent());
    }

    /// <summary>Times everything.</summary>
    /// <exception cref="BenchException">A kernel computes something else than it should.</exception>
    public IReadOnlyList<CudaKernelRow> Run(CudaKernelOptions options, Action<string> progress)
    {
        using var use = _stream.Context.Use();
        var rows = new List<CudaKernelRow>();
        foreach (var shape in options.Shapes)
        {
            var count = options.Sets > 0 ? options.Sets : CudaBench.SetsFor(shape);
            progress($"{shape.K} x {shape.N}, block {shape.BlockSize}: making {count} weight sets");
            var sets = Enumerable.Range(0, count).Select(i => RandomCodes.Draw(shape, (ulong)(i + 1), 1 / Math.Sqrt(shape.K), options.LargestScale)).ToList();
            var facts = new WeightFacts(false, sets.Max(s => s.MaxAccumulator), sets.Max(s => s.Scales.Max()));
            _stream.Context.Load(CudaPlanner.Modules(shape, _stream.Context.Device));
            var weights = sets.Select(s => new DeviceWeights(s)).ToList();
            try
            {
                foreach (var m in options.M)
                {
                    var lineup = Measure(sets, weights, facts, m, rows.Count == 0 ? FirstWarmUpMs : WarmUpMs, options);
                    rows.AddRange(lineup);
                    progress($"{shape.K} x {shape.N}, block {shape.BlockSize}, M={m}: " + string.Join(", ", lineup.Select(r => Text.F($"{r.Variant} {r.Us:F2} µs"))));
                }
            }
            finally
            {
                weights.ForEach(w => w.Dispose());
            }
        }

        return rows;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        using var use = _stream.Context.Use();
        CudaDriver.DestroyEvent(_start);
        CudaDriver.DestroyEvent(_end);
        _stream.Dispose();
    }

    /// <summary>What is timed: the operator's kernels and, where there is one, the tensor-core kernel's twin, which reads float16 scales in the integers' place.</summary>
    private IReadOnlyList<(string Name, CudaPlan Plan, bool FloatScales)> Variants(MatMulShape shape, int m, in WeightFacts facts)
    {
        var ours = (CudaOperator.Ours, CudaPlanner.Plan(shape, m, ElementType.Float16, facts, _stream.Context.Device), false);
        return CudaPlanner.HasTwin(shape, m, _stream.Context.Device)
            ? [ours, (Twin, CudaPlanner.Twin(shape, m, ElementType.Float16, _stream.Context.Device), true)]
            : [ours];
    }

    private List<CudaKernelRow> Measure(
        IReadOnlyList<WeightSet> sets, IReadOnlyList<DeviceWeights> weights, WeightFacts facts, int m, double warmUpMs, CudaKernelOptions options)
    {
        var shape = sets[0].Shape;
        using var values = new RandomTensors(m).Normal($"A{shape.K}", (long)m * shape.K, 1);
        using var a = DeviceArray.Of(values)!;
        var y = sets.Select(_ => new DeviceArray((long)m * shape.N * sizeof(ushort))).ToList();
        var sequences = new List<Sequence>();
        try
        {
            var variants = Variants(shape, m, facts);
            foreach (var variant in variants)
            {
                sequences.Add(new Sequence(this, variant.Plan, weights, a, y, m, variant.FloatScales, options.Graphs));
                // NaN, so that no variant passes for what another one left.
                y.ForEach(x => CudaDriver.Fill(x.Address, 0xFF, x.Bytes, _stream.Handle));
                sequences[^1].Run(1);
                Check(sets, values, y, m, variant.Name);
            }

            var times = sequences.Select(_ => new List<double>()).ToList();
            foreach (var sequence in sequences) sequence.Calibrate(warmUpMs);
            for (var round = 0; round < options.Rounds; round++)
            {
                for (var turn = 0; turn < sequences.Count; turn++)
                {
                    var i = round % 2 == 0 ? turn : sequences.Count - 1 - turn;
                    times[i].Add(sequences[i].Run(sequences[i].Passes) / (sequences[i].Passes * sets.Count));
                }
            }

            var ours = CudaOperator.All.Single(o => o.Name == CudaOperator.Ours);
            return [.. sequences.Select((s, i) =>
            {
                var seconds = PairedTimer.Median(times[i]) / 1e3;
                return new CudaKernelRow(
                    shape, m, sets.Count, variants[i].Name, s.Kernels, seconds * 1e6, 2.0 * m * shape.N * shape.K / seconds / 1e12,
                    ours.WeightBytes(shape) / seconds / 1e9, options.Roofline.Seconds(shape, m, ours.WeightBytes(shape)) / seconds, PairedTimer.MedianRatio(times[i], times[0]));
            })];
        }
        finally
        {
            sequences.ForEach(s => s.Dispose());
            y.ForEach(x => x.Dispose());
        }
    }

    /// <summary>The first and the last set's outputs: the integer kernels' bit for bit on a sample, their twins' nearly.</summary>
    private static void Check(IReadOnlyList<WeightSet> sets, TensorBuffer a, IReadOnlyList<DeviceArray> y, int m, string variant)
    {
        var activations = MemoryMarshal.Cast<byte, Half>(a.Slice(0, checked((int)a.Length)));
        foreach (var i in new[] { 0, sets.Count - 1 }.Distinct())
            CudaCheck.Sampled(sets[i], activations, MemoryMarshal.Cast<byte, Half>(y[i].ToHost()), variant == CudaOperator.Ours ? 0 : 0.01, $"{variant} at K={sets[i].Shape.K}, N={sets[i].Shape.N}, M={m}, set {i}");
    }

    /// <summary>A call for every weight set.</summary>
    private sealed class Sequence : IDisposable
    {
        private readonly CudaKernelBench _bench;
        private readonly CudaPlan _plan;
        private readonly CudaParams[] _calls;
        private readonly DeviceArray _scratch;
        private readonly nint _graph;

        public Sequence(CudaKernelBench bench, in CudaPlan plan, IReadOnlyList<DeviceWeights> weights, DeviceArray a, IReadOnlyList<DeviceArray> y, int m, bool floatScales, bool graph)
        {
            (_bench, _plan) = (bench, plan);
            _scratch = new DeviceArray(CudaMatMul.ScratchBytes(plan));
            _calls = new CudaParams[weights.Count];
            for (var i = 0; i < _calls.Length; i++)
            {
                ref var call = ref _calls[i];
                call = CudaParams.Of(weights[i].View(floatScales), m, ElementType.Float16);
                call.A = a.Pointer;
                call.Y = y[i].Pointer;
                CudaMatMul.UseScratch(ref call, plan, _scratch.Pointer);
            }

            if (!graph) return;
            CudaDriver.BeginCapture(bench._stream.Handle);
            Launch();
            _graph = CudaDriver.EndCapture(bench._stream.Handle);
        }

        /// <summary>Passes over the sets in a measurement.</summary>
        public int Passes { get; private set; } = 1;

        /// <summary>Names of the kernels.</summary>
        public string Kernels =>
            (_plan.Quantize.Threads == 0 ? "" : CudaKernels.All[_plan.Quantize.Kernel].Name + " + ") + CudaKernels.All[_plan.MatMul.Kernel].Name;

        /// <summary>Milliseconds of so many passes.</summary>
        public double Run(int passes)
        {
            CudaDriver.Record(_bench._start, _bench._stream.Handle);
            for (var i = 0; i < passes; i++)
            {
                if (_graph != 0) CudaDriver.LaunchGraph(_graph, _bench._stream.Handle);
                else Launch();
            }

            CudaDriver.Record(_bench._end, _bench._stream.Handle);
            CudaDriver.SynchronizeEvent(_bench._end);
            return CudaDriver.Milliseconds(_bench._start, _bench._end);
        }

        /// <summary>Warms up for so long, and finds how many passes make a measurement.</summary>
        public void Calibrate(double warmUpMs)
        {
            var ms = Run(2);
            do
            {
                var pass = Run(Passes) / Passes;
                ms += pass * Passes;
                Passes = (int)Math.Clamp(MeasureMs / Math.Max(pass, 1e-3), 1, 10000);
            }
            while (ms < warmUpMs);
        }

        public void Dispose()
        {
            if (_graph != 0) CudaDriver.DestroyGraph(_graph);
            _scratch.Dispose();
        }

        private void Launch()
        {
            foreach (ref readonly var call in _calls.AsSpan()) CudaMatMul.Launch(_bench._stream.Context, _plan, call, _bench._stream.Handle);
        }
    }
}
