using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>
/// AVX2 for any number of rows, vector lanes along k: <see cref="Avx512RowKernel"/> at half the width. 32 bytes of B hold 64 4-bit codes,
/// the even or odd k of half a chunk each.
/// </summary>
public static unsafe class Avx2Kernel
{
    private const int PrefetchAhead = 4096;

    /// <summary>Whether this processor has AVX2.</summary>
    public static bool IsSupported => Avx2.IsSupported;

    /// <inheritdoc cref="AccumulateTile"/>
    [SkipLocalsInit]
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc)
    {
        var shape = job.Weights.Shape;
        var stride = n1 - n0;
        var factors = stackalloc int[ZeroPointFactors.Step];
        for (var n = n0; n < n1; n++)
        {
            var column = acc + (n - n0);
            var m = m0;
            if (shape.Bits == 4)
            {
                for (; m <= m1 - 4; m += 4, column += 4 * stride) Four(job, m, n, factors, column, stride);
            }

            for (; m < m1; m++, column += stride) *column = One(job, m, n, factors);
        }
    }

    /// <summary>The scales of B vector v of a channel, one int16 a lane. Never reads past the channel's scales.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<short> ScaleVector(short* scales, int v, int codes, MatMulShape shape)
    {
        if (shape.BlockSize >= codes) return Vector256.Create(scales[v >> BitOperations.Log2((uint)(shape.BlockSize / codes))]);
        var g = v * (codes / shape.BlockSize);
        short Next(int i) => g + i < shape.KBlocks ? scales[g + i] : (short)0;
        return codes == 2 * shape.BlockSize
            ? Vector256.Create(Vector128.Create(scales[g]), Vector128.Create(Next(1)))
            : Vector256.Create(Vector64.Create(scales[g]).AsInt64()[0], Vector64.Create(Next(1)).AsInt64()[0], Vector64.Create(Next(2)).AsInt64()[0], Vector64.Create(Next(3)).AsInt64()[0]).AsInt16();
    }

    /// <summary>A row's last, partial B vector, zero-padded, placed so that it continues the row.</summary>
    private static byte* Tail(byte* row, int rowBytes, byte* buffer)
    {
        var full = rowBytes & ~31;
        new Span<byte>(buffer, 32).Clear();
        new ReadOnlySpan<byte>(row + full, rowBytes - full).CopyTo(new Span<byte>(buffer, 32));
        return buffer - full;
    }

    /// <summary>Where the even k of B vector v lie; its odd k lie half a chunk further.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int EvenAt(int v) => ((v >> 1) * ActivationOrder.Chunk) + ((v & 1) * 32);

    [SkipLocalsInit]
    private static int One(in MatMulJob job, int m, int n, int* factors)
    {
        var shape = job.Weights.Shape;
        var a = job.A8 + ((long)m * shape.ActivationStride);
        var b = job.Weights.Block(n, 0);
        var scales = job.Weights.ScalesOf(n);
        var nibble = Vector256.Create((byte)0xF);
        var rowBytes = shape.RowBytes;
        var tail = stackalloc byte[32];
        var acc = Vector256<int>.Zero;
        var high = Vector256<int>.Zero;
        for (var v = 0; v * 32 < rowBytes; v++)
        {
            if ((v + 1) * 32 > rowBytes) b = Tail(b, rowBytes, tail);
            Sse.Prefetch0(b + (v * 32) + PrefetchAhead);
            var codes = Vector256.Load(b + (v * 32));
            var low = codes & nibble;
            var upper = (codes.AsUInt16() >>> 4).AsByte() & nibble;
            if (shape.Bits == 4)
            {
                acc += Avx2.MultiplyAddAdjacent(Pairs(low, upper, a + EvenAt(v)), ScaleVector(scales, v, 64, shape));
                continue;
            }

            // 8-bit codes as two planes of nibbles: q = 16·high + low.
            var scale = ScaleVector(scales, v, 32, shape);
            acc += Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(low, Vector256.Load(a + (v * 32))), scale);
            high += Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(upper, Vector256.Load(a + (v * 32))), scale);
        }

        acc += high << 4;
        for (var g0 = 0; g0 < shape.KBlocks; g0 += ZeroPointFactors.Step)
        {
            var count = ZeroPointFactors.Fill(job.Weights, n, g0, factors);
            var sums = job.BlockSums + ((long)m * shape.KBlocks) + g0;
            for (var g = 0; g < count; g += 8) acc -= Vector256.Load(factors + g) * Vector256.Load(sums + g);
        }

        return Vector256.Sum(acc);
    }

    /// <summary>The same for rows m..m+4 and 4 bits, so that codes are unpacked once for the four.</summary>
    [SkipLocalsInit]
    private static void Four(in MatMulJob job, int m, int n, int* factors, int* column, int stride)
    {
        var shape = job.Weights.Shape;
        long row = shape.ActivationStride;
        var b = job.Weights.Block(n, 0);
        var scales = job.Weights.ScalesOf(n);
        var nibble = Vector256.Create((byte)0xF);
        var rowBytes = shape.RowBytes;
        var tail = stackalloc byte[32];
        Vector256<int> acc0 = default, acc1 = default, acc2 = default, acc3 = default;
        for (var v = 0; v * 32 < rowBytes; v++)
        {
            if ((v + 1) * 32 > rowBytes) b = Tail(b, rowBytes, tail);
            var codes = Vector256.Load(b + (v * 32));
            var even = codes & nibble;
            var odd = (codes.AsUInt16() >>> 4).AsByte() & nibble;
            var scale = ScaleVector(scales, v, 64, shape);
            var a = job.A8 + (m * row) + EvenAt(v);
            acc0 += Avx2.MultiplyAddAdjacent(Pairs(even, odd, a), scale);
            acc1 += Avx2.MultiplyAddAdjacent(Pairs(even, odd, a + row), scale);
            acc2 += Avx2.MultiplyAddAdjacent(Pairs(even, odd, a + (2 * row)), scale);
            acc3 += Avx2.MultiplyAddAdjacent(Pairs(even, odd, a + (3 * row)), scale);
        }

        for (var g0 = 0; g0 < shape.KBlocks; g0 += ZeroPointFactors.Step)
        {
            var count = ZeroPointFactors.Fill(job.Weights, n, g0, factors);
            var sums = job.BlockSums + ((long)m * shape.KBlocks) + g0;
            for (var g = 0; g < count; g += 8, sums += 8)
            {
                var f = Vector256.Load(factors + g);
                acc0 -= f * Vector256.Load(sums);
                acc1 -= f * Vector256.Load(sums + shape.KBlocks);
                acc2 -= f * Vector256.Load(sums + (2 * shape.KBlocks));
                acc3 -= f * Vector256.Load(sums + (3 * shape.KBlocks));
            }
        }

        column[0] = Vector256.Sum(acc0);
        column[stride] = Vector256.Sum(acc1);
        column[2 * stride] = Vector256.Sum(acc2);
        column[3 * stride] = Vector256.Sum(acc3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<short> Pairs(Vector256<byte> even, Vector256<byte> odd, sbyte* a) =>
        Avx2.MultiplyAddAdjacent(even, Vector256.Load(a)) + Avx2.MultiplyAddAdjacent(odd, Vector256.Load(a + (ActivationOrder.Chunk / 2)));
}
