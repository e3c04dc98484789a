using System.Numerics.Tensors;

namespace Onnx.IntScale;

/// <summary>A whole weight matrix, panel of channels by panel, in parallel; channels do not depend on each other, so the result never varies.</summary>
public static unsafe class WeightQuantizer
{
    private const int Panel = 32;

    /// <summary>Quantizes a matrix.</summary>
    /// <param name="weight">The float weights.</param>
    /// <param name="options">Bits, block size, method, amplifier, limit.</param>
    /// <param name="cancel">Stops between panels.</param>
    /// <exception cref="WeightFaultException">A weight is NaN or infinite, or a channel cannot be certified or is too small; the first channel at fault is named.</exception>
    public static QuantizedWeight Quantize(WeightMatrix weight, QuantizeOptions options, CancellationToken cancel = default)
    {
        var shape = new MatMulShape(weight.K, weight.N, options.Bits, options.BlockSize);
        var s = new float[(long)shape.N * shape.KBlocks];
        ForPanels(weight, shape, cancel, (n, w) =>
            ChannelQuantizer.FloatScales(w, shape, options.Method, s.AsSpan((int)((long)n * shape.KBlocks), shape.KBlocks)));

        var amplifier = options.Amplifier.Kind switch
        {
            AmplifierKind.Fixed => options.Amplifier.Value,
            AmplifierKind.Paper => IntegerScale.PaperAmplifier(s),
            _ => 0,
        };
        var b = new byte[(long)shape.N * shape.RowBytes];
        var scales = new short[s.Length];
        var channelScales = new float[shape.N];
        var errors = new double[shape.N];
        var squares = new double[shape.N];
        var lowered = new bool[shape.N];
        var zero = new bool[shape.N];
        ForPanels(weight, shape, cancel, (n, w) =>
        {
            var codes = new sbyte[shape.PaddedK];
            var first = n * shape.KBlocks;
            var channel = scales.AsSpan(first, shape.KBlocks);
            var result = ChannelQuantizer.Quantize(w, shape, s.AsSpan(first, shape.KBlocks), amplifier, options.Limit, options.LargestScale, channel, codes)
                ?? throw new WeightFaultException($"output channel {n} cannot be certified below {options.Limit} even with its scales at 1", "raise --max-accumulator, use a smaller --block-size, or --exclude the node");
            zero[n] = !channel.ContainsAnyExcept((short)0);
            // Below the normal floats a scale loses its precision, then becomes zero.
            if (!float.IsNormal(result.ChannelScale) || (zero[n] && w.ContainsAnyExcept(0)))
                throw new WeightFaultException($"the weights of output channel {n} are too small for a float scale (the largest is {TensorPrimitives.MaxMagnitude(w):G3})", "--exclude the node");
            CodePacking.Pack(codes, shape.Bits, b.AsSpan(checked(n * shape.RowBytes), shape.RowBytes));
            channelScales[n] = result.ChannelScale;
            lowered[n] = result.Lowered;
            for (var k = 0; k < shape.K; k++)
            {
                var d = w[k] - ((double)codes[k] * channel[k / shape.BlockSize] * result.ChannelScale);
                errors[n] += d * d;
                squares[n] += (double)w[k] * w[k];
            }
        });

        // The scale of a channel of zeros scales nothing.
        var used = channelScales.Where((_, n) => !zero[n]).DefaultIfEmpty(1).ToList();
        var loweredChannels = lowered.Count(l => l);
        var summary = new WeightSummary(
            shape,
            b.LongLength + (scales.LongLength * sizeof(short)) + (channelScales.LongLength * sizeof(float)),
            loweredChannels == 0 ? amplifier : 0,
            Certify(shape, b, scales, channelScales),
            squares.Sum() is > 0 and var total ? Math.Sqrt(errors.Sum() / total) : 0,
            1 / (double)used.Max(),
            1 / (double)used.Min(),
            loweredChannels);
        return new QuantizedWeight(b, scales, channelScales, summary);
    }

    private static long Certify(MatMulShape shape, byte[] b, short[] scales, float[] channelScales)
    {
        fixed (byte* pb = b)
        fixed (short* ps = scales)
        fixed (float* pc = channelScales)
            return Certificate.Compute(new WeightView(shape, pb, ps, pc, null));
    }

    private delegate void Channel(int n, ReadOnlySpan<float> w);

    private static void ForPanels(WeightMatrix weight, MatMulShape shape, CancellationToken cancel, Channel action)
    {
        var faults = new WeightFaultException?[(shape.N + Panel - 1) / Panel];
        ParallelWork.Unwrap(() => Parallel.For(0, faults.Length, new ParallelOptions { CancellationToken = cancel }, () => new float[Panel * shape.PaddedK], (p, loop, panel) =>
        {
            var n0 = p * Panel;
            var count = Math.Min(Panel, shape.N - n0);
            weight.ReadPanel(n0, count, shape.PaddedK, panel);
            try
            {
                for (var i = 0; i < count; i++)
                {
                    var w = panel.AsSpan(i * shape.PaddedK, shape.PaddedK);
                    CheckFinite(w, n0 + i);
                    action(n0 + i, w);
                }
            }
            catch (WeightFaultException e)
            {
                // Break lets all panels before this one finish, so the first fault is found whatever the threads do.
                faults[p] = e;
                loop.Break();
            }

            return panel;
        }, _ => { }));
        if (faults.FirstOrDefault(f => f != null) is { } fault) throw new WeightFaultException(fault.Message, fault.Remedy);
    }

    private static void CheckFinite(ReadOnlySpan<float> w, int n)
    {
        for (var k = 0; k < w.Length; k++)
        {
            if (!float.IsFinite(w[k])) throw new WeightFaultException($"its weight at k={k}, n={n} is {w[k]}", "repair the model, or --exclude the node");
        }
    }
}

/// <summary>Weights that cannot be quantized; the converter adds file and node.</summary>
public sealed class WeightFaultException(string message, string remedy) : Exception(message)
{
    /// <summary>What the user may do.</summary>
    public string Remedy { get; } = remedy;
}
