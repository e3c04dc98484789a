using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>The inner loops of a panel kernel, and the form in which they want scales.</summary>
internal unsafe interface IPanelLoops
{
    /// <summary>A scale as the loops broadcast it.</summary>
    static abstract int Scale(short scale);

    /// <summary>Channels of one call of <see cref="TwoPanels"/> and of <see cref="OnePanel"/>: divisors of <see cref="PanelTiles.Channels"/>.</summary>
    static abstract (int Two, int One) Channels { get; }

    /// <summary>Some channels by two panels: totals[panel, c] += Σ over the piece.</summary>
    static abstract void TwoPanels(PanelArguments* arguments, int run);

    /// <summary>Some channels by one panel.</summary>
    static abstract void OnePanel(PanelArguments* arguments, int run);
}

/// <summary>
/// A tile of many rows with vector lanes along m: a panel's vector holds four k of 16 rows, and the same four codes of one channel are
/// broadcast against it, so that no lane sums are left to add up at the end.
/// The tile's codes are unpacked to bytes once for all its rows, a piece of K at a time: the activations of two panels for that piece stay
/// in the L1 cache while channels stream past them. 8-bit codes go as two planes of nibbles, q = 16·high + low.
/// Zero points are taken off afterwards.
/// </summary>
internal static unsafe class PanelTiles
{
    /// <summary>Channels unpacked together; a tile has no more.</summary>
    public const int Channels = 64;

    /// <summary>Codes of a channel that are unpacked together; the stride between channels keeps them off each other's cache sets.</summary>
    private const int Piece = 1024;
    public const int Stride = Piece + 64;

    /// <summary>Runs of a piece at the smallest block size: 8 k, two steps, to a scale.</summary>
    public const int MaxRuns = Piece / 8;

    private const int Rows = ActivationOrder.PanelRows;
    private const int Line = 64;

    /// <inheritdoc cref="AccumulateTile"/>
    [SkipLocalsInit]
    public static void Accumulate<TLoops>(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc)
        where TLoops : struct, IPanelLoops
    {
        var shape = job.Weights.Shape;
        var panels = (m1 - m0 + Rows - 1) / Rows;
        var size = panels * Channels * Rows;
        var totalsRoom = stackalloc byte[(size * sizeof(int)) + Line];
        var highRoom = stackalloc byte[(shape.Bits == 8 ? size * sizeof(int) : 0) + Line];
        var codesRoom = stackalloc byte[(Channels * Stride) + Line];
        var totals = (int*)Align(totalsRoom);
        var high = (int*)Align(highRoom);
        var codes = Align(codesRoom);
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
                MultiplyPiece<TLoops>(job, m0, panels, n, channels, k0, k1, 0, codes, scales, totals);
                if (shape.Bits == 8) MultiplyPiece<TLoops>(job, m0, panels, n, channels, k0, k1, 4, codes, scales, high);
            }

            for (var i = 0; shape.Bits == 8 && i < size; i++) totals[i] += high[i] << 4;
            for (var i = 0; i < channels; i++) TakeOffZeroPoints(job, m0, panels, n + i, factors, totals + (i * Rows));
            Transpose(totals, m1 - m0, channels, acc + (n - n0), n1 - n0);
        }
    }

    /// <summary>The next cache line: vectors that cross two are loaded and stored at half speed.</summary>
    private static byte* Align(byte* p) => (byte*)(((long)p + Line - 1) & -Line);

    private static void MultiplyPiece<TLoops>(
        in MatMulJob job, int m0, int panels, int n, int channels, int k0, int k1, int shift, byte* codes, int* scales, int* totals)
        where TLoops : struct, IPanelLoops
    {
        // What the loops do at once is filled up by repeating the last channel; those totals are not stored.
        var shape = job.Weights.Shape;
        var atOnce = Math.Max(TLoops.Channels.Two, TLoops.Channels.One);
        var filled = (channels + atOnce - 1) / atOnce * atOnce;
        var run = RunLength(shape);
        for (var i = 0; i < filled; i++)
        {
            var channel = n + Math.Min(i, channels - 1);
            Unpack(job.Weights, channel, k0, k1, shift, codes + (i * Stride));
            ReadScales<TLoops>(job.Weights, channel, k0, k1, run, scales + (i * MaxRuns));
        }

        var length = (k1 - k0 + ActivationOrder.Chunk - 1) & -ActivationOrder.Chunk;
        var panelBytes = (long)Rows * shape.ActivationStride;
        var arguments = new PanelArguments { PanelBytes = panelBytes, Runs = length / run };
        for (var p = 0; p < panels; p += 2)
        {
            arguments.A = job.A8 + ((long)m0 * shape.ActivationStride) + (p * panelBytes) + ((long)k0 * Rows);
            var two = p + 1 < panels;
            for (var i = 0; i < filled; i += two ? TLoops.Channels.Two : TLoops.Channels.One)
            {
                arguments.Codes = codes + (i * Stride);
                arguments.Scales = scales + (i * MaxRuns);
                arguments.Totals = totals + (((p * Channels) + i) * Rows);
                if (two) TLoops.TwoPanels(&arguments, run);
                else TLoops.OnePanel(&arguments, run);
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

    /// <summary>Each run's scale.</summary>
    private static void ReadScales<TLoops>(in WeightView w, int n, int k0, int k1, int run, int* scales)
        where TLoops : struct, IPanelLoops
    {
        var log2Block = BitOperations.Log2((uint)w.Shape.BlockSize);
        var source = w.ScalesOf(n);
        var end = (k1 + ActivationOrder.Chunk - 1) & -ActivationOrder.Chunk;
        for (var position = k0; position < end; position += run)
        {
            var k = w.Shape.Bits == 8 ? position : (position & -ActivationOrder.Chunk) + ((position & ((ActivationOrder.Chunk / 2) - 1)) * 2);
            *scales++ = k < w.Shape.PaddedK ? TLoops.Scale(source[k >> log2Block]) : 0;
        }
    }

    private static void TakeOffZeroPoints(in MatMulJob job, int m0, int panels, int n, int* factors, int* totals)
    {
        var shape = job.Weights.Shape;
        for (var g0 = 0; g0 < shape.KBlocks; g0 += ZeroPointFactors.Step)
        {
            var count = ZeroPointFactors.Fill(job.Weights, n, g0, factors);
            var panelSums = (long)Rows * shape.KBlocks;
            for (var p = 0; p < panels; p += 2)
            {
                // Two panels, so that one's products need not wait for the other's; the last of an odd number goes twice to one place.
                var sums = job.BlockSums + ((m0 * (long)shape.KBlocks) + (p * panelSums)) + (g0 * Rows);
                var other = p + 1 < panels ? sums + panelSums : sums;
                var (owed, otherOwed) = (Vector512<int>.Zero, Vector512<int>.Zero);
                for (var g = 0; g < count; g++)
                {
                    var factor = Vector512.Create(factors[g]);
                    owed += factor * Vector512.Load(sums + (g * Rows));
                    otherOwed += factor * Vector512.Load(other + (g * Rows));
                }

                var total = totals + (p * Channels * Rows);
                (Vector512.Load(total) - owed).Store(total);
                if (p + 1 == panels) break;
                total += Channels * Rows;
                (Vector512.Load(total) - otherOwed).Store(total);
            }
        }
    }

    /// <summary>totals [panel, channel, row] → acc [row, channel], four by four.</summary>
    private static void Transpose(int* totals, int rows, int channels, int* acc, int stride)
    {
        for (var m = 0; m < rows; m += 4)
        {
            var source = totals + (m / Rows * Channels * Rows) + (m % Rows);
            var count = Math.Min(4, rows - m);
            var c = 0;
            for (; count == 4 && c <= channels - 4; c += 4)
            {
                var (x0, x1) = (Vector128.Load(source + (c * Rows)), Vector128.Load(source + ((c + 1) * Rows)));
                var (x2, x3) = (Vector128.Load(source + ((c + 2) * Rows)), Vector128.Load(source + ((c + 3) * Rows)));
                var (y0, y1) = (Sse2.UnpackLow(x0, x1).AsInt64(), Sse2.UnpackHigh(x0, x1).AsInt64());
                var (y2, y3) = (Sse2.UnpackLow(x2, x3).AsInt64(), Sse2.UnpackHigh(x2, x3).AsInt64());
                var target = acc + (m * stride) + c;
                Sse2.UnpackLow(y0, y2).AsInt32().Store(target);
                Sse2.UnpackHigh(y0, y2).AsInt32().Store(target + stride);
                Sse2.UnpackLow(y1, y3).AsInt32().Store(target + (2 * stride));
                Sse2.UnpackHigh(y1, y3).AsInt32().Store(target + (3 * stride));
            }

            for (; c < channels; c++)
            {
                for (var i = 0; i < count; i++) acc[((m + i) * stride) + c] = source[(c * Rows) + i];
            }
        }
    }
}
