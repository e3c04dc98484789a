using System.Runtime.InteropServices;

namespace Onnx.IntScale.Bench;

/// <summary>A weight set in float16: MatMulNBits' scales, and MatMul's weights, which are what MatMulNBits multiplies by.</summary>
internal static unsafe class HalfWeights
{
    // Channels of a tile: their float16 values of one k are a cache line.
    private const int TileN = 32;

    /// <summary>MatMulNBits' scales [N, KBlocks]: integers · channel scales.</summary>
    public static Half[] Scales(WeightSet set)
    {
        var halves = new Half[set.Scales.Length];
        Parallel.For(0, set.Shape.N, n =>
        {
            for (var i = n * set.Shape.KBlocks; i < (n + 1) * set.Shape.KBlocks; i++) halves[i] = (Half)(set.Scales[i] * set.ChannelScales[n]);
        });
        return halves;
    }

    /// <summary>MatMul's weights [K, N].</summary>
    public static TensorBuffer Dequantized(WeightSet set)
    {
        var shape = set.Shape;
        if (shape.Bits != 4) throw new BenchException("only 4-bit codes are dequantized to float16");
        var scales = Scales(set);
        var weights = new TensorBuffer((long)shape.K * shape.N * sizeof(ushort));
        var tiles = (shape.N + TileN - 1) / TileN;
        Parallel.For(0, tiles * shape.KBlocks, task =>
        {
            var (g, n0) = (task / tiles, task % tiles * TileN);
            var (k0, k1) = (g * shape.BlockSize, Math.Min(shape.K, (g + 1) * shape.BlockSize));
            var n1 = Math.Min(shape.N, n0 + TileN);
            // The 16 weights that a block's codes stand for.
            Span<Half> values = stackalloc Half[TileN << 4];
            for (var n = n0; n < n1; n++)
            {
                var scale = (float)scales[(n * shape.KBlocks) + g];
                for (var code = 0; code < 16; code++) values[((n - n0) << 4) + code] = (Half)((code - shape.DefaultZeroPoint) * scale);
            }

            var codes = MemoryMarshal.CreateReadOnlySpan(ref set.B[0], set.B.Length);
            for (var k = k0; k < k1; k++)
            {
                var row = (Half*)weights.Data + ((long)k * shape.N);
                for (var n = n0; n < n1; n++)
                    row[n] = values[((n - n0) << 4) + ((codes[(n * shape.RowBytes) + (k >> 1)] >> ((k & 1) * 4)) & 0xF)];
            }
        });
        return weights;
    }
}
