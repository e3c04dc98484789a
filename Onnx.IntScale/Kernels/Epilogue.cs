using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Onnx.IntScale;

/// <summary>
/// The one conversion to float: Y[m,n] = float(acc[m,n]) * (a_scale[m] * channel_scales[n]) + bias[n], each operation rounded to
/// float32 by itself (no fused multiply-add), then rounded once more where Y is narrower.
/// </summary>
public static unsafe class Epilogue
{
    /// <summary>Most channels of one call.</summary>
    public const int MaxChannels = 256;

    /// <summary>Stores Y[m, n0..n1] from acc [n1 - n0]; at most <see cref="MaxChannels"/> channels.</summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void StoreRow(in MatMulJob job, int m, int n0, int n1, int* acc)
    {
        var count = n1 - n0;
        var first = ((long)m * job.Weights.Shape.N) + n0;
        var buffer = stackalloc float[MaxChannels];
        var y = job.Type == ElementType.Float ? (float*)job.Y + first : buffer;
        Scale(acc, job.Weights.ChannelScales + n0, job.AScales[m], y, count);
        if (job.Bias != null)
        {
            for (var i = 0; i < count; i++) y[i] += Elements.Load(job.Type, job.Bias, n0 + i);
        }

        var result = new ReadOnlySpan<float>(y, count);
        if (job.Type == ElementType.Float16) TensorPrimitives.ConvertToHalf(result, new Span<Half>((Half*)job.Y + first, count));
        else if (job.Type == ElementType.BFloat16) Elements.ToBFloat16(result, new Span<ushort>((ushort*)job.Y + first, count));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Scale(int* acc, float* channelScales, float aScale, float* y, int count)
    {
        var i = 0;
        var factor = Vector256.Create(aScale);
        for (; i <= count - 8; i += 8)
        {
            var scale = factor * Vector256.Load(channelScales + i);
            (Vector256.ConvertToSingle(Vector256.Load(acc + i)) * scale).Store(y + i);
        }

        for (; i < count; i++)
        {
            var scale = aScale * channelScales[i];
            y[i] = acc[i] * scale;
        }
    }
}
