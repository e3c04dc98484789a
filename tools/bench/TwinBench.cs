using System.Runtime.InteropServices;

namespace Onnx.IntScale.Bench;

/// <summary>Medians of one shape and M, on one thread.</summary>
/// <param name="Shape">The weights.</param>
/// <param name="M">Rows.</param>
/// <param name="IntegerUs">Microseconds of the kernel with integer scales.</param>
/// <param name="FloatUs">Microseconds of its float-scale twin.</param>
/// <param name="Ratio">Median of the float twin's time / the integer kernel's: above 1 the integer scale is faster.</param>
internal sealed record TwinRow(MatMulShape Shape, int M, double IntegerUs, double FloatUs, double Ratio);

/// <summary>Times avx512vnni-panel's dot products against <see cref="FloatTwin"/>'s, without ONNX Runtime: rows are quantized before, nothing is stored after.</summary>
internal sealed unsafe class TwinBench : IDisposable
{
    /// <summary>Float32 adds up to a million times K = 14336 with about this relative error.</summary>
    private const double Tolerance = 1e-3;

    private readonly List<nint> _memory = [];
    private readonly MatMulJob _job;
    private readonly int* _totals;

    private TwinBench(MatMulShape shape, int m)
    {
        var set = WeightSet.Random(shape, 0);
        var b = Copy<byte>(set.B);
        var scales = Copy<short>(set.Scales);
        var channelScales = Copy<float>(set.ChannelScales);
        var zeroPoints = Copy<byte>(new byte[(long)shape.N * shape.ZeroPointRowBytes]);
        _job = new MatMulJob { Weights = new WeightView(shape, b, scales, channelScales, zeroPoints), M = m, Type = ElementType.Float };
        _job.Plan = CpuKernels.Plan(m, CpuKernels.Choose("avx512vnni-panel"));
        var random = new Random(1);
        _job.A = Copy<float>(Array.ConvertAll(new float[m * shape.K], _ => random.NextSingle() - 0.5f));
        _job.UseScratch(Room(MatMulJob.ScratchBytes(shape, _job.Plan.ScratchRows(m))));
        for (var task = 0; task < IntScaleMatMul.QuantizeTasks(_job); task++) IntScaleMatMul.Quantize(_job, task);
        _totals = (int*)Room(PanelTiles.TotalsLength(TileM) * (long)sizeof(int));
    }

    /// <summary>Rows of a tile.</summary>
    private const int TileM = 256;

    /// <summary>Times both for a shape and M.</summary>
    /// <exception cref="BenchException">The processor lacks AVX512-VNNI, or the two do not compute the same.</exception>
    public static TwinRow Run(MatMulShape shape, int m, double seconds)
    {
        if (!VnniPanelKernel.IsSupported) throw new BenchException("the float-scale twin needs AVX512-VNNI and executable memory");
        using var bench = new TwinBench(shape, m);
        bench.Check();
        var times = PairedTimer.Measure([() => bench.Multiply<VnniPanelKernel.Loops>(), () => bench.Multiply<FloatTwin>()], TimeSpan.FromSeconds(2 * seconds));
        return new(shape, m, PairedTimer.Median(times[0]) * 1e6, PairedTimer.Median(times[1]) * 1e6, PairedTimer.MedianRatio(times[1], times[0]));
    }

    public void Dispose() => _memory.ForEach(p => NativeMemory.AlignedFree((void*)p));

    private void Multiply<TLoops>()
        where TLoops : struct, IPanelLoops
    {
        for (var m0 = 0; m0 < _job.M; m0 += TileM)
        {
            for (var n0 = 0; n0 < _job.Weights.Shape.N; n0 += PanelTiles.Channels) Tile<TLoops>(m0, n0);
        }
    }

    private void Tile<TLoops>(int m0, int n0)
        where TLoops : struct, IPanelLoops =>
        PanelTiles.Accumulate<TLoops>(_job, m0, Math.Min(_job.M, m0 + TileM), n0, Math.Min(_job.Weights.Shape.N, n0 + PanelTiles.Channels), _totals);

    /// <summary>The first tile's totals agree.</summary>
    private void Check()
    {
        var count = PanelTiles.TotalsLength(Math.Min(_job.M, TileM));
        Tile<VnniPanelKernel.Loops>(0, 0);
        var expected = new ReadOnlySpan<int>(_totals, count).ToArray();
        Tile<FloatTwin>(0, 0);
        var actual = new ReadOnlySpan<float>(_totals, count);
        var channels = Math.Min(PanelTiles.Channels, _job.Weights.Shape.N);
        var counted = Enumerable.Range(0, count).Where(i => i / PanelTiles.Rows % PanelTiles.Channels < channels).ToList();
        var largest = counted.Max(i => Math.Abs((double)expected[i]));
        foreach (var i in counted)
        {
            if (Math.Abs(expected[i] - (double)actual[i]) > Tolerance * largest) throw new BenchException($"the twin computes {actual[i]}, not {expected[i]}");
        }
    }

    private T* Copy<T>(T[] values)
        where T : unmanaged
    {
        var p = (T*)Room((long)values.Length * sizeof(T));
        values.CopyTo(new Span<T>(p, values.Length));
        return p;
    }

    private byte* Room(long bytes)
    {
        var p = (byte*)NativeMemory.AlignedAlloc((nuint)bytes + 64, 64);
        _memory.Add((nint)p);
        return p;
    }
}
