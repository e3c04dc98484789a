using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace Onnx.IntScale;

/// <summary>
/// A float weight as a model stores it: [K, N] (MatMul's own form) or [N, K] (behind a Transpose), in float16, bfloat16 or float32.
/// Channels are read a panel at a time, so that no float copy of the matrix is made.
/// </summary>
public sealed class WeightMatrix(TensorBuffer data, ElementType type, int k, int n, bool transposed)
{
    /// <summary>Length of a channel.</summary>
    public int K => k;

    /// <summary>Channels.</summary>
    public int N => n;

    /// <summary>Reads channels n0..n0+count as float rows [count, paddedK], zero-padded past K.</summary>
    public void ReadPanel(int n0, int count, int paddedK, Span<float> panel)
    {
        panel[..(count * paddedK)].Clear();
        if (transposed)
        {
            for (var i = 0; i < count; i++) Convert((long)(n0 + i) * k, panel.Slice(i * paddedK, k));
            return;
        }

        Span<float> run = stackalloc float[count];
        for (var row = 0; row < k; row++)
        {
            Convert(((long)row * n) + n0, run);
            for (var i = 0; i < count; i++) panel[(i * paddedK) + row] = run[i];
        }
    }

    private void Convert(long first, Span<float> destination)
    {
        var bytes = data.Slice(first * Elements.SizeOf(type), destination.Length * Elements.SizeOf(type));
        switch (type)
        {
            case ElementType.Float: MemoryMarshal.Cast<byte, float>(bytes).CopyTo(destination); break;
            case ElementType.Float16: TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<byte, Half>(bytes), destination); break;
            default: Elements.FromBFloat16(MemoryMarshal.Cast<byte, ushort>(bytes), destination); break;
        }
    }
}
