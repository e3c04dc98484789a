using System.Numerics.Tensors;
using Microsoft.ML.OnnxRuntime;

namespace Onnx.IntScale.Bench;

/// <summary>
/// What operators compute, before they are timed: all are close to the float16 MatMul, and ours is the scalar specification's result
/// bit for bit, on a sample of rows and channels.
/// </summary>
internal static unsafe class CudaCheck
{
    // More outputs than this are checked in the first and last node only.
    private const long ManyOutputs = 1 << 25;
    private const int SampledRows = 4;
    private const int SampledChannels = 32;
    private const int Chunk = 1 << 16;

    /// <summary>Checks all operators' outputs, which they leave in <paramref name="y"/>.</summary>
    /// <exception cref="BenchException">One is wrong.</exception>
    public static void Run(CudaHost host, IReadOnlyList<NodeSession> sessions, IReadOnlyList<WeightSet> sets, ReadOnlySpan<Half> a, IReadOnlyList<OrtValue> y, string where)
    {
        var (k, n) = (sets[0].Shape.K, sets[0].Shape.N);
        var nodes = (long)y.Count * a.Length / k * n > ManyOutputs ? new[] { 0, y.Count - 1 }.Distinct().ToArray() : [.. Enumerable.Range(0, y.Count)];
        var expected = new Half[y.Count][];
        foreach (var session in sessions.OrderBy(s => s.Operator.Name != CudaOperator.Reference))
        {
            foreach (var i in nodes) host.Poison(y[i]);
            session.Run();
            foreach (var i in nodes)
            {
                var output = host.ToHost(y[i]);
                var at = $"at {where}, node {i}";
                expected[i] ??= output;
                var error = RelativeError(expected[i], output);
                if (!(error <= session.Operator.MaxError))
                {
                    throw new BenchException(Text.F(
                        $"{session.Operator.Name} is wrong {at}: relative error {error:G3} against the float16 product, at most {session.Operator.MaxError:G3} expected; not timed"));
                }

                if (session.Operator.Form == WeightForm.IntScale4 && (i == nodes[0] || i == nodes[^1])) Sampled(sets[i], a, output, 0, $"{session.Operator.Name} {at}");
            }
        }
    }

    /// <summary>‖y - ŷ‖ / ‖y‖; NaN where either holds one or y is zero.</summary>
    private static double RelativeError(Half[] expected, Half[] actual)
    {
        var (difference, norm) = (0.0, 0.0);
        var gate = new Lock();
        Parallel.For(0, (expected.Length + Chunk - 1) / Chunk, chunk =>
        {
            var (first, length) = (chunk * Chunk, Math.Min(Chunk, expected.Length - (chunk * Chunk)));
            var (wanted, got) = (new float[length], new float[length]);
            TensorPrimitives.ConvertToSingle(expected.AsSpan(first, length), wanted);
            TensorPrimitives.ConvertToSingle(actual.AsSpan(first, length), got);
            TensorPrimitives.Subtract(got, wanted, got);
            double squares = TensorPrimitives.SumOfSquares<float>(wanted), errors = TensorPrimitives.SumOfSquares<float>(got);
            lock (gate) (difference, norm) = (difference + errors, norm + squares);
        });
        return Math.Sqrt(difference / norm);
    }

    /// <summary>Compares some rows of the first and of the last channels with the scalar specification.</summary>
    /// <param name="set">The weights.</param>
    /// <param name="a">A [M, K].</param>
    /// <param name="y">Y [M, N].</param>
    /// <param name="tolerance">Of a difference to the sampled values' root mean square; 0 for equal bits.</param>
    /// <param name="what">What is wrong, if it is.</param>
    /// <exception cref="BenchException">They differ.</exception>
    public static void Sampled(WeightSet set, ReadOnlySpan<Half> a, ReadOnlySpan<Half> y, double tolerance, string what)
    {
        var (k, n) = (set.Shape.K, set.Shape.N);
        var m = a.Length / k;
        var rows = Enumerable.Range(0, SampledRows).Select(i => (int)((long)(m - 1) * i / (SampledRows - 1))).Distinct().ToArray();
        var sampled = new Half[rows.Length * k];
        for (var i = 0; i < rows.Length; i++) a.Slice(rows[i] * k, k).CopyTo(sampled.AsSpan(i * k));
        foreach (var n0 in new[] { 0, Math.Max(0, n - SampledChannels) }.Distinct())
        {
            var channels = Math.Min(SampledChannels, n);
            var wanted = Scalar(set, n0, channels, sampled);
            var allowed = tolerance * Math.Sqrt(wanted.Average(w => (double)w * (double)w));
            for (var i = 0; i < wanted.Length; i++)
            {
                var (row, channel) = (rows[i / channels], n0 + (i % channels));
                var got = y[(row * n) + channel];
                var same = tolerance > 0
                    ? Math.Abs((double)got - (double)wanted[i]) <= allowed
                    : BitConverter.HalfToUInt16Bits(got) == BitConverter.HalfToUInt16Bits(wanted[i]);
                if (!same)
                    throw new BenchException(Text.F($"{what}: Y[{row}, {channel}] is {(float)got}, the specification says {(float)wanted[i]}; not timed"));
            }
        }
    }

    /// <summary>The specification's Y [rows, channels] for channels from n0 on.</summary>
    private static Half[] Scalar(WeightSet set, int n0, int channels, Half[] a)
    {
        var shape = set.Shape with { N = channels };
        var m = a.Length / shape.K;
        var y = new Half[m * channels];
        var job = new MatMulJob { M = m, Type = ElementType.Float16, Plan = CpuKernels.Plan(m, CpuKernels.Scalar) };
        using var scratch = new TensorBuffer(MatMulJob.ScratchBytes(shape, job.Plan.ScratchRows(m)));
        fixed (byte* b = set.B)
        fixed (short* scales = set.Scales)
        fixed (float* channelScales = set.ChannelScales)
        fixed (Half* input = a, output = y)
        {
            job.Weights = new WeightView(shape, b + ((long)n0 * shape.RowBytes), scales + ((long)n0 * shape.KBlocks), channelScales + n0, null);
            job.A = input;
            job.Y = output;
            job.UseScratch(scratch.Data);
            IntScaleMatMul.Run(job);
        }

        return y;
    }
}
