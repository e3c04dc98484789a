using System.Runtime.InteropServices;

namespace Onnx.IntScale.Bench;

/// <summary>
/// One random quantized weight matrix without zero points. Every operator gets the same one in its own form:
/// integer scales · channel scales, float scales, or plain floats.
/// </summary>
internal sealed class WeightSet
{
    /// <summary>A matrix of zeros, to be filled.</summary>
    public WeightSet(MatMulShape shape)
    {
        Shape = shape;
        B = new byte[(long)shape.N * shape.RowBytes];
        Scales = new short[(long)shape.N * shape.KBlocks];
        ChannelScales = new float[shape.N];
        MaxAccumulator = LargestScale(shape) * WorstChannel(shape);
    }

    /// <summary>K, N, bits, block_size.</summary>
    public MatMulShape Shape { get; }

    /// <summary>Codes [N, KBlocks, BlockBytes].</summary>
    public byte[] B { get; }

    /// <summary>Integer scales [N, KBlocks], certified whatever the codes.</summary>
    public short[] Scales { get; }

    /// <summary>Units of the integers [N].</summary>
    public float[] ChannelScales { get; }

    /// <summary>A bound of the accumulator (<see cref="Certificate"/>); unless another is given, one that holds for every set of <see cref="Random"/>.</summary>
    public long MaxAccumulator { get; set; }

    /// <summary>Set number <paramref name="index"/> of a shape, the same on every machine. No two sets are equal: ONNX Runtime would keep one of them.</summary>
    public static WeightSet Random(MatMulShape shape, int index)
    {
        var random = new Random(HashCode(shape, index));
        var set = new WeightSet(shape);
        random.NextBytes(set.B);
        var largest = LargestScale(shape);
        foreach (ref var scale in set.Scales.AsSpan()) scale = (short)random.Next((largest + 1) / 2, largest + 1);
        // Outputs of about 1 for activations of about 1.
        var unit = 1 / (largest * (float)shape.DefaultZeroPoint * MathF.Sqrt(shape.K));
        foreach (ref var scale in set.ChannelScales.AsSpan()) scale = unit * (1 + random.NextSingle());
        return set;
    }

    /// <summary>The same matrix as a converted weight; the arrays are shared.</summary>
    public QuantizedWeight Quantized() =>
        new(B, Scales, ChannelScales, new WeightSummary(Shape, B.LongLength + (Scales.LongLength * sizeof(short)) + (ChannelScales.LongLength * sizeof(float)), 0, MaxAccumulator, 0, 1, 1, 0));

    /// <summary>MatMulNBits' scales [N, KBlocks], as raw float32.</summary>
    public byte[] FloatScales()
    {
        var raw = new byte[Scales.LongLength * sizeof(float)];
        var floats = MemoryMarshal.Cast<byte, float>(raw.AsSpan());
        for (var i = 0; i < floats.Length; i++) floats[i] = FloatScale(i);
        return raw;
    }

    /// <summary>MatMul's weights [K, N], as raw float32.</summary>
    public byte[] Dequantized()
    {
        var raw = new byte[(long)Shape.K * Shape.N * sizeof(float)];
        Parallel.For(0, Shape.KBlocks, g =>
        {
            var floats = MemoryMarshal.Cast<byte, float>(raw.AsSpan());
            var (first, end) = (g * Shape.BlockSize, Math.Min(Shape.K, (g + 1) * Shape.BlockSize));
            for (var n = 0; n < Shape.N; n++)
            {
                var scale = FloatScale((n * Shape.KBlocks) + g);
                var row = B.AsSpan(n * Shape.RowBytes, Shape.RowBytes);
                for (var k = first; k < end; k++)
                {
                    var code = Shape.Bits == 8 ? row[k] : (row[k >> 1] >> ((k & 1) * 4)) & 0xF;
                    floats[(k * Shape.N) + n] = (code - Shape.DefaultZeroPoint) * scale;
                }
            }
        });
        return raw;
    }

    private float FloatScale(int block) => Scales[block] * ChannelScales[block / Shape.KBlocks];

    /// <summary>The largest scale with which no codes can pass the converter's limit (int32's where even 1 would).</summary>
    private static int LargestScale(MatMulShape shape)
    {
        var limit = WorstChannel(shape) <= Certificate.DefaultLimit ? Certificate.DefaultLimit : Certificate.Int32Limit;
        return (int)Math.Clamp(limit / WorstChannel(shape), 1, short.MaxValue);
    }

    /// <summary>The accumulator of a channel whose codes are all the farthest from the zero point, at scales of 1.</summary>
    private static long WorstChannel(MatMulShape shape) => 127L * shape.DefaultZeroPoint * shape.K;

    private static int HashCode(MatMulShape shape, int index) => unchecked((((((shape.K * 31) + shape.N) * 31) + shape.BlockSize) * 31) + index);
}
