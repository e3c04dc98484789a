using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>
/// AVX-512BW for many rows, vector lanes along m: a panel's vector holds four k of 16 rows, and the same four codes of one channel are
/// broadcast against it, so that no lane sums are left to add up at the end.
/// <code>
/// p16[n] += vpmaddubsw(broadcast u[n, 4 k], a8[4 k, 16 rows])          up to 8 steps: 8·2·15·127 = 30480 fits int16
/// acc[n] += vpmaddwd(p16[n], broadcast scales[n,g])                    once per 32 k: the integer scale costs nothing extra
/// </code>
/// The tile's codes are unpacked to bytes once for all its rows, a piece of K at a time: the activations of two panels for that piece stay
/// in the L1 cache while channels stream past them, four at a time.
/// 8-bit codes go as two planes of nibbles, q = 16·high + low. Zero points are taken off afterwards.
/// </summary>
public static unsafe class Avx512PanelKernel
{
    /// <summary>Channels unpacked together; a tile has no more.</summary>
    private const int Channels = 64;

    /// <summary>Channels multiplied together, by one panel; by two panels it is half as many.</summary>
    private const int Octet = 8;

    /// <summary>Codes of a channel that are unpacked together; the stride between channels keeps them off each other's cache sets.</summary>
    private const int Piece = 512;
    private const int Stride = Piece + 64;

    /// <summary>Runs of a piece at the smallest block size: 8 k, two steps, to a scale.</summary>
    private const int MaxRuns = Piece / 8;

    private const int Rows = ActivationOrder.PanelRows;

    /// <summary>Whether this processor has AVX-512BW.</summary>
    public static bool IsSupported => Avx512BW.IsSupported;

    /// <inheritdoc cref="AccumulateTile"/>
    [SkipLocalsInit]
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc)
    {
        var shape = job.Weights.Shape;
        var panels = (m1 - m0 + Rows - 1) / Rows;
        var size = panels * Channels * Rows;
        var totals = stackalloc int[size];
        var high = stackalloc int[shape.Bits == 8 ? size : 0];
        var codes = stackalloc byte[Channels * Stride];
        var scales = stackalloc int[Channels * MaxRuns];
        var factors = stackalloc int[ZeroPointFactors.Step];
        for (var n = n0; n < n1; n += Channels)
        {
            var channels = Math.Min(Channels, n1 - n);
            new Span<int>(totals, size).Clear();
            new Span<int>(high, shape.Bits == 8 ? size : 0).Clear();
            for (var k0 = 0; k0 < shape.PaddedK; k0 += Piece)
            {
                var k1 = Math.Min(shape.PaddedK, k0 + Piece);
                MultiplyPiece(job, m0, panels, n, channels, k0, k1, 0, codes, scales, totals);
                if (shape.Bits == 8) MultiplyPiece(job, m0, panels, n, channels, k0, k1, 4, codes, scales, high);
            }

            for (var i = 0; shape.Bits == 8 && i < size; i++) totals[i] += high[i] << 4;
            for (var i = 0; i < channels; i++) TakeOffZeroPoints(job, m0, panels, n + i, factors, totals + (i * Rows));
            Transpose(totals, m1 - m0, channels, acc + (n - n0), n1 - n0);
        }
    }

    private static void MultiplyPiece(in MatMulJob job, int m0, int panels, int n, int channels, int k0, int k1, int shift, byte* codes, int* scales, int* totals)
    {
        // A last octet is filled up by repeating the last channel; those totals are not stored.
        var shape = job.Weights.Shape;
        var filled = (channels + Octet - 1) & -Octet;
        var run = RunLength(shape);
        for (var i = 0; i < filled; i++)
        {
            var channel = n + Math.Min(i, channels - 1);
            Unpack(job.Weights, channel, k0, k1, shift, codes + (i * Stride));
            ReadScales(job.Weights, channel, k0, k1, run, scales + (i * MaxRuns));
        }

        var length = (k1 - k0 + ActivationOrder.Chunk - 1) & -ActivationOrder.Chunk;
        var panel = job.A8 + ((long)m0 * shape.ActivationStride) + ((long)k0 * Rows);
        var panelBytes = (long)Rows * shape.ActivationStride;
        for (var p = 0; p < panels; p += 2)
        {
            var a = panel + (p * panelBytes);
            var t = totals + (p * Channels * Rows);
            if (p + 1 < panels)
            {
                for (var i = 0; i < filled; i += Octet / 2) TwoPanels(a, panelBytes, codes + (i * Stride), scales + (i * MaxRuns), length, run, t + (i * Rows));
            }
            else
            {
                for (var i = 0; i < filled; i += Octet) OnePanel(a, codes + (i * Stride), scales + (i * MaxRuns), length, run, t + (i * Rows));
            }
        }
    }

    /// <summary>
    /// Consecutive positions that share a scale: a whole chunk, or half a small block, whose even and odd k lie apart (for 8 bits, which lie
    /// in order, a block). Up to 32 at a time fit int16, so a longer run is scaled in several goes.
    /// </summary>
    private static int RunLength(MatMulShape shape) =>
        shape.Bits == 8 ? Math.Min(shape.BlockSize, ActivationOrder.Chunk) : shape.BlockSize >= ActivationOrder.Chunk ? ActivationOrder.Chunk : shape.BlockSize / 2;

    /// <summary>Codes k0..k1 of a channel as bytes in the activations' order.</summary>
    private static void Unpack(in WeightView w, int n, int k0, int k1, int shift, byte* codes)
    {
        var shape = w.Shape;
        var row = w.Block(n, 0) + (k0 * shape.Bits / 8);
        var bytes = (k1 - k0) * shape.Bits / 8;
        var nibble = Vector512.Create((byte)0xF);

        // What is unpacked next of this channel: its next piece, or the first piece of the channel that takes its place in the next tile.
        var next = k1 < shape.PaddedK ? row + bytes : w.Block(n, 0) + ((long)Channels * shape.RowBytes);
        var i = 0;
        for (; i <= bytes - 64; i += 64)
        {
            Sse.Prefetch0(next + i);
            if (shape.Bits == 4) UnpackNibbles(row + i, nibble, codes + (2 * i));
            else ((Vector512.Load(row + i).AsUInt16() >>> shift).AsByte() & nibble).Store(codes + i);
        }

        if (i == bytes) return;
        var last = stackalloc byte[64];
        new Span<byte>(last, 64).Clear();
        new ReadOnlySpan<byte>(row + i, bytes - i).CopyTo(new Span<byte>(last, 64));
        if (shape.Bits == 4) UnpackNibbles(last, nibble, codes + (2 * i));
        else ((Vector512.Load(last).AsUInt16() >>> shift).AsByte() & nibble).Store(codes + i);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void UnpackNibbles(byte* packed, Vector512<byte> nibble, byte* codes)
    {
        var p = Vector512.Load(packed);
        (p & nibble).Store(codes);
        ((p.AsUInt16() >>> 4).AsByte() & nibble).Store(codes + 64);
    }

    /// <summary>Each run's scale, twice in an int32.</summary>
    private static void ReadScales(in WeightView w, int n, int k0, int k1, int run, int* scales)
    {
        var log2Block = BitOperations.Log2((uint)w.Shape.BlockSize);
        var source = w.ScalesOf(n);
        var end = (k1 + ActivationOrder.Chunk - 1) & -ActivationOrder.Chunk;
        for (var position = k0; position < end; position += run)
        {
            var k = w.Shape.Bits == 8 ? position : (position & -ActivationOrder.Chunk) + ((position & ((ActivationOrder.Chunk / 2) - 1)) * 2);
            *scales++ = k < w.Shape.PaddedK ? (ushort)source[k >> log2Block] * 0x10001 : 0;
        }
    }

    /// <summary>Eight channels by one panel: totals[c] += Σ over the piece.</summary>
    private static void OnePanel(sbyte* a, byte* codes, int* scales, int length, int run, int* totals)
    {
        Vector512<int> t0 = default, t1 = default, t2 = default, t3 = default, t4 = default, t5 = default, t6 = default, t7 = default;
        var batch = Math.Min(32, run);
        for (var k = 0; k < length; scales++)
        {
            for (var runEnd = k + run; k < runEnd;)
            {
                Vector512<short> p0 = default, p1 = default, p2 = default, p3 = default, p4 = default, p5 = default, p6 = default, p7 = default;
                for (var end = k + batch; k < end; k += 4)
                {
                    var x = Vector512.Load(a + (k * Rows));
                    p0 += Avx512BW.MultiplyAddAdjacent(Broadcast(codes + k), x);
                    p1 += Avx512BW.MultiplyAddAdjacent(Broadcast(codes + k + Stride), x);
                    p2 += Avx512BW.MultiplyAddAdjacent(Broadcast(codes + k + (2 * Stride)), x);
                    p3 += Avx512BW.MultiplyAddAdjacent(Broadcast(codes + k + (3 * Stride)), x);
                    p4 += Avx512BW.MultiplyAddAdjacent(Broadcast(codes + k + (4 * Stride)), x);
                    p5 += Avx512BW.MultiplyAddAdjacent(Broadcast(codes + k + (5 * Stride)), x);
                    p6 += Avx512BW.MultiplyAddAdjacent(Broadcast(codes + k + (6 * Stride)), x);
                    p7 += Avx512BW.MultiplyAddAdjacent(Broadcast(codes + k + (7 * Stride)), x);
                }

                t0 += Scale(p0, scales);
                t1 += Scale(p1, scales + MaxRuns);
                t2 += Scale(p2, scales + (2 * MaxRuns));
                t3 += Scale(p3, scales + (3 * MaxRuns));
                t4 += Scale(p4, scales + (4 * MaxRuns));
                t5 += Scale(p5, scales + (5 * MaxRuns));
                t6 += Scale(p6, scales + (6 * MaxRuns));
                t7 += Scale(p7, scales + (7 * MaxRuns));
            }
        }

        Add(totals, t0);
        Add(totals + Rows, t1);
        Add(totals + (2 * Rows), t2);
        Add(totals + (3 * Rows), t3);
        Add(totals + (4 * Rows), t4);
        Add(totals + (5 * Rows), t5);
        Add(totals + (6 * Rows), t6);
        Add(totals + (7 * Rows), t7);
    }

    /// <summary>Four channels by two panels, so that each broadcast serves 32 rows.</summary>
    private static void TwoPanels(sbyte* a, long panelBytes, byte* codes, int* scales, int length, int run, int* totals)
    {
        var b = a + panelBytes;
        Vector512<int> t0 = default, t1 = default, t2 = default, t3 = default, u0 = default, u1 = default, u2 = default, u3 = default;
        var batch = Math.Min(32, run);
        for (var k = 0; k < length; scales++)
        {
            for (var runEnd = k + run; k < runEnd;)
            {
                Vector512<short> p0 = default, p1 = default, p2 = default, p3 = default, q0 = default, q1 = default, q2 = default, q3 = default;
                for (var end = k + batch; k < end; k += 4)
                {
                    var x = Vector512.Load(a + (k * Rows));
                    var y = Vector512.Load(b + (k * Rows));
                    var c = Broadcast(codes + k);
                    p0 += Avx512BW.MultiplyAddAdjacent(c, x);
                    q0 += Avx512BW.MultiplyAddAdjacent(c, y);
                    c = Broadcast(codes + k + Stride);
                    p1 += Avx512BW.MultiplyAddAdjacent(c, x);
                    q1 += Avx512BW.MultiplyAddAdjacent(c, y);
                    c = Broadcast(codes + k + (2 * Stride));
                    p2 += Avx512BW.MultiplyAddAdjacent(c, x);
                    q2 += Avx512BW.MultiplyAddAdjacent(c, y);
                    c = Broadcast(codes + k + (3 * Stride));
                    p3 += Avx512BW.MultiplyAddAdjacent(c, x);
                    q3 += Avx512BW.MultiplyAddAdjacent(c, y);
                }

                t0 += Scale(p0, scales);
                u0 += Scale(q0, scales);
                t1 += Scale(p1, scales + MaxRuns);
                u1 += Scale(q1, scales + MaxRuns);
                t2 += Scale(p2, scales + (2 * MaxRuns));
                u2 += Scale(q2, scales + (2 * MaxRuns));
                t3 += Scale(p3, scales + (3 * MaxRuns));
                u3 += Scale(q3, scales + (3 * MaxRuns));
            }
        }

        Add(totals, t0);
        Add(totals + Rows, t1);
        Add(totals + (2 * Rows), t2);
        Add(totals + (3 * Rows), t3);
        totals += Channels * Rows;
        Add(totals, u0);
        Add(totals + Rows, u1);
        Add(totals + (2 * Rows), u2);
        Add(totals + (3 * Rows), u3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<byte> Broadcast(byte* codes) => Vector512.Create(*(int*)codes).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Scale(Vector512<short> p16, int* scale) => Avx512BW.MultiplyAddAdjacent(p16, Vector512.Create(*scale).AsInt16());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(int* totals, Vector512<int> value) => (Vector512.Load(totals) + value).Store(totals);

    private static void TakeOffZeroPoints(in MatMulJob job, int m0, int panels, int n, int* factors, int* totals)
    {
        var shape = job.Weights.Shape;
        for (var g0 = 0; g0 < shape.KBlocks; g0 += ZeroPointFactors.Step)
        {
            var count = ZeroPointFactors.Fill(job.Weights, n, g0, factors);
            for (var p = 0; p < panels; p++)
            {
                var sums = job.BlockSums + ((long)(m0 + (p * Rows)) * shape.KBlocks) + (g0 * Rows);
                var total = Vector512.Load(totals + (p * Channels * Rows));
                for (var g = 0; g < count; g++) total -= Vector512.Create(factors[g]) * Vector512.Load(sums + (g * Rows));
                total.Store(totals + (p * Channels * Rows));
            }
        }
    }

    /// <summary>totals [panel, channel, row] → acc [row, channel].</summary>
    private static void Transpose(int* totals, int rows, int channels, int* acc, int stride)
    {
        for (var m = 0; m < rows; m++)
        {
            var source = totals + (m / Rows * Channels * Rows) + (m % Rows);
            for (var c = 0; c < channels; c++) acc[(m * stride) + c] = source[c * Rows];
        }
    }
}
