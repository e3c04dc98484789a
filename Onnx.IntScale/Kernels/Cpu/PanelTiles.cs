using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>
/// A tile of many rows with vector lanes along m: a panel's vector holds four k of 16 rows, and the same four codes of one channel are
/// broadcast against it, so that no lane sums are left to add up at the end.
/// The tile's codes are unpacked to bytes once for all its rows, a piece of K at a time (<see cref="PanelCodes"/>): the activations of two
/// panels for that piece stay in the L1 cache while channels stream past them. 8-bit codes go as two planes of nibbles, q = 16·high + low.
/// Totals begin with what is owed for zero points (<see cref="PanelZeroPoints"/>).
/// </summary>
internal static unsafe class PanelTiles
{
    /// <summary>Channels unpacked together; a tile has no more.</summary>
    public const int Channels = 64;

    /// <summary>Run length for which loops may fetch the next piece's 4-bit codes: a cache line a run and channel.</summary>
    public const int FetchRun = 128;

    public const int Rows = ActivationOrder.PanelRows;
    private const int Line = 64;

    /// <summary>Totals of a tile: [panels, channels, rows].</summary>
    public static int TotalsLength(int rows) => (rows + Rows - 1) / Rows * Channels * Rows;

    /// <inheritdoc cref="AccumulateTile"/>
    [SkipLocalsInit]
    public static void Accumulate<TLoops>(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc)
        where TLoops : struct, IPanelLoops
    {
        var shape = job.Weights.Shape;
        var size = TotalsLength(m1 - m0);
        var highRoom = stackalloc byte[(shape.Bits == 8 ? size * sizeof(int) : 0) + Line];
        var codesRoom = stackalloc byte[(Channels * PanelCodes.Piece) + Line];
        var scalesRoom = stackalloc byte[(PanelCodes.MaxRuns * Channels * sizeof(int)) + Line];
        var high = (int*)Align(highRoom);
        var codes = Align(codesRoom);
        var scales = (int*)Align(scalesRoom);
        var panels = (m1 - m0 + Rows - 1) / Rows;
        PanelZeroPoints.Owe(job, m0, panels, n0, n1 - n0, acc);
        new Span<int>(high, shape.Bits == 8 ? size : 0).Clear();
        for (var k0 = 0; k0 < shape.PaddedK; k0 += PanelCodes.Piece)
        {
            var k1 = Math.Min(shape.PaddedK, k0 + PanelCodes.Piece);
            MultiplyPiece<TLoops>(job, m0, panels, n0, n1 - n0, k0, k1, 0, codes, scales, acc);
            if (shape.Bits == 8) MultiplyPiece<TLoops>(job, m0, panels, n0, n1 - n0, k0, k1, 4, codes, scales, high);
        }

        for (var i = 0; shape.Bits == 8 && i < size; i++) acc[i] += high[i] << 4;
    }

    /// <summary>Stores Y[m0..m1, n0..n1] from a tile's totals.</summary>
    [SkipLocalsInit]
    public static void Store(in MatMulJob job, int m0, int m1, int n0, int n1, int* totals)
    {
        var rows = stackalloc int[8 * Channels];
        for (var m = m0; m < m1; m += 8)
        {
            var source = totals + ((m - m0) / Rows * Channels * Rows) + ((m - m0) % Rows);
            Transpose(source, n1 - n0, rows);
            for (var i = 0; i < Math.Min(8, m1 - m); i++) Epilogue.StoreRow(job, m + i, n0, n1, rows + (i * Channels));
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

    /// <summary>Eight rows of [channels, 16 rows] → [8 rows, 64 channels], eight by eight where AVX2 is there.</summary>
    private static void Transpose(int* source, int channels, int* target)
    {
        var c = 0;
        for (; Avx2.IsSupported && c <= channels - 8; c += 8)
        {
            var from = source + (c * Rows);
            var (x0, x1, x2, x3) = (Vector256.Load(from), Vector256.Load(from + Rows), Vector256.Load(from + (2 * Rows)), Vector256.Load(from + (3 * Rows)));
            from += 4 * Rows;
            var (x4, x5, x6, x7) = (Vector256.Load(from), Vector256.Load(from + Rows), Vector256.Load(from + (2 * Rows)), Vector256.Load(from + (3 * Rows)));
            var (y0, y1) = (Avx2.UnpackLow(x0, x1).AsInt64(), Avx2.UnpackHigh(x0, x1).AsInt64());
            var (y2, y3) = (Avx2.UnpackLow(x2, x3).AsInt64(), Avx2.UnpackHigh(x2, x3).AsInt64());
            var (y4, y5) = (Avx2.UnpackLow(x4, x5).AsInt64(), Avx2.UnpackHigh(x4, x5).AsInt64());
            var (y6, y7) = (Avx2.UnpackLow(x6, x7).AsInt64(), Avx2.UnpackHigh(x6, x7).AsInt64());
            StorePair(Avx2.UnpackLow(y0, y2), Avx2.UnpackLow(y4, y6), target + c);
            StorePair(Avx2.UnpackHigh(y0, y2), Avx2.UnpackHigh(y4, y6), target + c + Channels);
            StorePair(Avx2.UnpackLow(y1, y3), Avx2.UnpackLow(y5, y7), target + c + (2 * Channels));
            StorePair(Avx2.UnpackHigh(y1, y3), Avx2.UnpackHigh(y5, y7), target + c + (3 * Channels));
        }

        for (; c < channels; c++)
        {
            for (var i = 0; i < 8; i++) target[(i * Channels) + c] = source[(c * Rows) + i];
        }
    }

    /// <summary>Rows r and r + 4: their first four channels, and their last.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StorePair(Vector256<long> first, Vector256<long> last, int* target)
    {
        Avx2.Permute2x128(first, last, 0x20).AsInt32().Store(target);
        Avx2.Permute2x128(first, last, 0x31).AsInt32().Store(target + (4 * Channels));
    }
}
