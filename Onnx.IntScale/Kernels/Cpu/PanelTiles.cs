using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>
/// A tile of many rows with vector lanes along m: a panel's vector holds four k of 16 rows, and the same four codes of one channel are
/// broadcast against it, so that no lane sums are left to add up at the end.
/// The tile's codes are unpacked to bytes once for all its rows, a piece of K at a time (<see cref="PanelCodes"/>): the activations of two
/// panels for that piece stay in the L1 cache while channels stream past them. 8-bit codes go as two planes of nibbles, q = 16·high + low.
/// Zero points are taken off afterwards (<see cref="PanelZeroPoints"/>).
/// </summary>
internal static unsafe class PanelTiles
{
    /// <summary>Channels unpacked together; a tile has no more.</summary>
    public const int Channels = 64;

    /// <summary>Run length for which loops may fetch the next piece's 4-bit codes: a cache line a run and channel.</summary>
    public const int FetchRun = 128;

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
        var codesRoom = stackalloc byte[(Channels * PanelCodes.Piece) + Line];
        var scalesRoom = stackalloc byte[(PanelCodes.MaxRuns * Channels * sizeof(int)) + Line];
        var totals = (int*)Align(totalsRoom);
        var high = (int*)Align(highRoom);
        var codes = Align(codesRoom);
        var scales = (int*)Align(scalesRoom);
        for (var n = n0; n < n1; n += Channels)
        {
            var channels = Math.Min(Channels, n1 - n);
            new Span<int>(totals, size).Clear();
            new Span<int>(high, shape.Bits == 8 ? size : 0).Clear();
            for (var k0 = 0; k0 < shape.PaddedK; k0 += PanelCodes.Piece)
            {
                var k1 = Math.Min(shape.PaddedK, k0 + PanelCodes.Piece);
                MultiplyPiece<TLoops>(job, m0, panels, n, channels, k0, k1, 0, codes, scales, totals);
                if (shape.Bits == 8) MultiplyPiece<TLoops>(job, m0, panels, n, channels, k0, k1, 4, codes, scales, high);
            }

            for (var i = 0; shape.Bits == 8 && i < size; i++) totals[i] += high[i] << 4;
            PanelZeroPoints.TakeOff(job, m0, panels, n, channels, totals);
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
        var run = PanelCodes.RunLength(shape);

        // What is unpacked next of a channel: its next piece, or the first piece of the channel that takes its place in the next tile.
        var next = k1 < shape.PaddedK ? job.Weights.Block(n, 0) + (k1 * shape.Bits / 8) : job.Weights.Block(n + Channels, 0);
        var loopsFetch = TLoops.FetchesNext && shape.Bits == 4 && run == FetchRun;
        for (var i = 0; i < filled; i++)
        {
            var channel = Math.Min(i, channels - 1);
            PanelCodes.Unpack(job.Weights, n + channel, k0, k1, shift, loopsFetch ? null : next + (channel * (long)shape.RowBytes), codes + PanelCodes.ChannelAt(i, run));
            PanelCodes.ReadScales<TLoops>(job.Weights, n + channel, k0, k1, scales + i);
        }

        var length = (k1 - k0 + ActivationOrder.Chunk - 1) & -ActivationOrder.Chunk;
        var panelBytes = (long)Rows * shape.ActivationStride;
        var arguments = new PanelArguments { PanelBytes = panelBytes, Runs = length / run, RowBytes = shape.RowBytes };
        TLoops.Enter(run);
        for (var p = 0; p < panels; p += 2)
        {
            arguments.A = job.A8 + ((long)m0 * shape.ActivationStride) + (p * panelBytes) + ((long)k0 * Rows);
            var two = p + 1 < panels;
            for (var i = 0; i < filled; i += two ? TLoops.Channels.Two : TLoops.Channels.One)
            {
                arguments.Codes = codes + PanelCodes.ChannelAt(i, run);
                arguments.Scales = scales + i;
                arguments.Totals = totals + (((p * Channels) + i) * Rows);
                arguments.Next = loopsFetch && p == 0 ? next + (i * (long)shape.RowBytes) : null;
                if (two) TLoops.TwoPanels(&arguments, run);
                else TLoops.OnePanel(&arguments, run);
            }
        }

        TLoops.Leave();
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
