using System.Runtime.CompilerServices;

namespace Onnx.IntScale;

/// <summary>
/// A tile of many rows with vector lanes along m: a panel's vector holds four k of 16 rows, and the same four codes of one channel are
/// broadcast against it, so that no lane sums are left to add up at the end.
/// The tile's codes are unpacked to bytes once for all its rows, a piece of K at a time (<see cref="PanelCodes"/>): the activations of two
/// panels for that piece stay in the L1 cache while channels stream past them. Where codes are multiplied as they are stored, totals
/// begin with what is owed for zero points (<see cref="PanelZeroPoints"/>), or sums of products do (<see cref="PanelLaneSums"/>), and 8-bit
/// codes go in two halves, q = 16·high + low.
/// </summary>
internal static unsafe class PanelTiles
{
    /// <summary>Channels of a tile.</summary>
    public const int Channels = 64;

    /// <summary>Run length for which loops, not the unpacking, fetch the next piece's 4-bit codes: a cache line a run and channel.</summary>
    public const int FetchRun = 128;

    public const int Rows = ActivationOrder.PanelRows;
    private const int Line = 64;

    /// <summary>Totals of a tile: [panels, channels, rows].</summary>
    public static int TotalsLength(int rows) => (rows + Rows - 1) / Rows * Channels * Rows;

    /// <inheritdoc cref="AccumulateTile"/>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Accumulate<TLoops>(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc)
        where TLoops : struct, IPanelLoops
    {
        // Zero points can be taken from 4-bit codes, and from 8-bit ones where q - 128 is what is left; other 8-bit codes go in two halves.
        // Or sums begin with what they owe; or it is taken off all at once.
        var shape = job.Weights.Shape;
        var signed = TLoops.SignedCodes && (shape.Bits == 4 || job.Weights.ZeroPoints == null);
        var halves = shape.Bits == 8 && !signed;
        var size = TotalsLength(m1 - m0);
        var panels = (m1 - m0 + Rows - 1) / Rows;
        var laneSums = TLoops.BeginsWithLaneSums && PanelLaneSums.Suit(job.Weights);
        var highRoom = stackalloc byte[(halves ? size * sizeof(int) : 0) + Line];
        var codesRoom = stackalloc byte[(PanelCodes.Channels * PanelCodes.Piece) + Line];
        var scalesRoom = stackalloc byte[(PanelCodes.MaxRuns * PanelCodes.Channels * sizeof(int)) + Line];
        var high = (int*)Align(highRoom);
        var buffers = new Buffers(Align(codesRoom), (int*)Align(scalesRoom), laneSums);
        if (signed || laneSums) new Span<int>(acc, size).Clear();
        else PanelZeroPoints.Owe(job, m0, panels, n0, n1 - n0, acc);
        new Span<int>(high, halves ? size : 0).Clear();
        for (var k0 = 0; k0 < shape.PaddedK; k0 += PanelCodes.Piece)
        {
            MultiplyPiece<TLoops>(job, m0, panels, n0, n1 - n0, k0, signed ? CodePlane.Signed : CodePlane.Low, buffers, acc);
            if (halves) MultiplyPiece<TLoops>(job, m0, panels, n0, n1 - n0, k0, CodePlane.High, buffers, high);
        }

        for (var i = 0; halves && i < size; i++) acc[i] += high[i] << 4;
    }

    /// <summary>Stores Y[m0..m1, n0..n1] from a tile's totals.</summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Store(in MatMulJob job, int m0, int m1, int n0, int n1, int* totals)
    {
        var rows = stackalloc int[8 * Channels];
        for (var m = m0; m < m1; m += 8)
        {
            var source = totals + ((m - m0) / Rows * Channels * Rows) + ((m - m0) % Rows);
            IntMatrix.Transpose(source, Rows, n1 - n0, 8, rows, Channels);
            for (var i = 0; i < Math.Min(8, m1 - m); i++) Epilogue.StoreRow(job, m + i, n0, n1, rows + (i * Channels));
        }
    }

    /// <summary>Where a piece is unpacked to, and whether sums of products begin with <see cref="PanelLaneSums"/>.</summary>
    private readonly struct Buffers(byte* codes, int* scales, bool laneSums)
    {
        public readonly byte* Codes = codes;
        public readonly int* Scales = scales;
        public readonly bool LaneSums = laneSums;
    }

    /// <summary>
    /// What loops for channels from i on fetch meanwhile: the next codes of as many channels; and where others did that, towards the end, as
    /// many rows of Y, since stores to lines that are far away would wait for each: of the 32 rows of their own panels, or of the first ones.
    /// </summary>
    private static void Fetch(in MatMulJob job, int m0, int n, int p, int i, byte* next, bool last, ref PanelArguments arguments)
    {
        var shape = job.Weights.Shape;
        arguments.Next = next;
        arguments.RowBytes = shape.RowBytes;
        if (p == 0 || !last || (i >= 2 * Rows && p > 2)) return;
        var (row, size) = (m0 + (i < 2 * Rows ? (p * Rows) + i : i - (2 * Rows)), Elements.SizeOf(job.Type));
        arguments.Next = (byte*)job.Y + ((((long)row * shape.N) + n) * size);
        arguments.RowBytes = (long)shape.N * size;
    }

    /// <summary>The next cache line: vectors that cross two are loaded and stored at half speed.</summary>
    private static byte* Align(byte* p) => (byte*)(((long)p + Line - 1) & -Line);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void MultiplyPiece<TLoops>(in MatMulJob job, int m0, int panels, int n, int channels, int k0, CodePlane plane, Buffers buffers, int* totals)
        where TLoops : struct, IPanelLoops
    {
        var shape = job.Weights.Shape;
        var k1 = Math.Min(shape.PaddedK, k0 + PanelCodes.Piece);
        var run = PanelCodes.RunLength(shape);
        var length = (k1 - k0 + ActivationOrder.Chunk - 1) & -ActivationOrder.Chunk;
        var panelBytes = (long)Rows * shape.ActivationStride;
        var loopsFetch = shape.Bits == 4 && run == FetchRun;
        var atOnce = Math.Max(TLoops.Channels.Two, TLoops.Channels.One);
        var a = job.A8 + ((long)m0 * shape.ActivationStride) + ((long)k0 * Rows);
        long sumsStride = PanelLaneSums.Stride(shape);
        var arguments = new PanelArguments { PanelBytes = panelBytes, Runs = length / run, LaneSumsStride = sumsStride };
        var sums = buffers.LaneSums ? job.LaneSums + (m0 / Rows * sumsStride) + (k0 / PanelLaneSums.Group * PanelLaneSums.Lanes) : null;
        TLoops.Enter(run);
        for (var i0 = 0; i0 < channels; i0 += PanelCodes.Channels)
        {
            // What the loops do at once is filled up by repeating the last channel; those totals are not stored.
            var count = Math.Min(PanelCodes.Channels, channels - i0);
            var filled = (count + atOnce - 1) / atOnce * atOnce;

            // What is unpacked next of a channel: its next piece, or the first piece of the channel that takes its place in the next tile.
            var next = k1 < shape.PaddedK ? job.Weights.Block(n + i0, 0) + (k1 * shape.Bits / 8) : job.Weights.Block(n + i0 + Channels, 0);
            PanelCodes.Unpack<TLoops>(job.Weights, n + i0, count, filled, k0, k1, plane, loopsFetch ? null : next, buffers.Codes, buffers.Scales);
            for (var p = 0; p < panels; p += 2)
            {
                arguments.A = a + (p * panelBytes);
                arguments.LaneSums = sums == null ? null : sums + (p * sumsStride);
                var two = p + 1 < panels;
                for (var i = 0; i < filled; i += two ? TLoops.Channels.Two : TLoops.Channels.One)
                {
                    arguments.Codes = buffers.Codes + PanelCodes.ChannelAt(i, run);
                    arguments.Scales = buffers.Scales + (i * PanelCodes.MaxRuns);
                    arguments.Totals = totals + (((p * Channels) + i0 + i) * Rows);
                    if (loopsFetch) Fetch(job, m0, n, p, i0 + i, p == 0 ? next + (i * (long)shape.RowBytes) : null, k1 == shape.PaddedK, ref arguments);
                    if (two) TLoops.TwoPanels(&arguments, run);
                    else TLoops.OnePanel(&arguments, run);
                }
            }
        }

        TLoops.Leave();
    }
}
