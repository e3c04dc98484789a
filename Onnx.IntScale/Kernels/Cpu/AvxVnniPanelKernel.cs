using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>
/// AVX-VNNI for many rows, in pure C#, on <see cref="PanelTiles"/>: a panel is two vectors of eight rows.
/// <code>
/// p[n]       = Σ over the run of vpdpbusd(broadcast u[n, 4 k], a8[4 k, 8 rows])      int32, no intermediate that could saturate
/// totals[n] += vpmulld(p[n], broadcast scales[n,g])
/// </code>
/// </summary>
public static unsafe class AvxVnniPanelKernel
{
    private const int Rows = ActivationOrder.PanelRows;
    private const int Lanes = 8;

    /// <summary>Whether this processor has AVX-VNNI.</summary>
    public static bool IsSupported => AvxVnni.IsSupported;

    /// <inheritdoc cref="AccumulateTile"/>
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc) => PanelTiles.Accumulate<Loops>(job, m0, m1, n0, n1, acc);

    private readonly struct Loops : IPanelLoops
    {
        public static (int Two, int One) Channels => (PanelCodes.TileChannels, PanelCodes.TileChannels);

        public static bool SignedCodes => false;

        public static int Scale(short scale) => scale;

        /// <summary>One after the other: 16 registers hold no more sums than one panel's.</summary>
        public static void TwoPanels(PanelArguments* arguments, int run)
        {
            OnePanel(arguments, run);
            var second = *arguments;
            second.A += arguments->PanelBytes;
            second.Totals += PanelTiles.Channels * Rows;
            second.Next = null;
            OnePanel(&second, run);
        }

        public static void OnePanel(PanelArguments* arguments, int run)
        {
            if (run >= 64) Sixteen<PanelTile64>(arguments, run);
            else if (run == 32) Sixteen<PanelTile32>(arguments, run);
            else Sixteen<PanelTile16>(arguments, run);
        }

        /// <summary>A tile of channels by five, five and six: two products a cycle that take five cycles need ten sums.</summary>
        private static void Sixteen<TTile>(PanelArguments* arguments, int run)
            where TTile : struct, IPanelTile
        {
            FiveChannels<TTile>(arguments, 0, run);
            FiveChannels<TTile>(arguments, 5, run);
            SixChannels<TTile>(arguments, 10, run);
        }

        [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
        private static void FiveChannels<TTile>(PanelArguments* arguments, int channel, int run)
            where TTile : struct, IPanelTile
        {
            var a = arguments->A;
            var codes = arguments->Codes + (channel * TTile.K);
            var scales = arguments->Scales + (channel * PanelCodes.MaxRuns);
            var totals = arguments->Totals + (channel * Rows);
            var next = arguments->Next == null ? null : arguments->Next + (channel * arguments->RowBytes);
            var rowBytes = arguments->RowBytes;
            for (var i = 0; i < (int)arguments->Runs; i++, scales++)
            {
                if (next != null)
                {
                    Sse.Prefetch0(next);
                    Sse.Prefetch0(next + rowBytes);
                    Sse.Prefetch0(next + (2 * rowBytes));
                    Sse.Prefetch0(next + (3 * rowBytes));
                    Sse.Prefetch0(next + (4 * rowBytes));
                    next += PanelTiles.FetchRun / 2;
                }

                Vector256<int> p0 = default, q0 = default, p1 = default, q1 = default, p2 = default, q2 = default, p3 = default, q3 = default, p4 = default, q4 = default;
                for (var k = 0; k < run; k += TTile.K, codes += PanelCodes.TileChannels * TTile.K)
                {
                    for (var j = 0; j < TTile.K; j += 4, a += 4 * Rows)
                    {
                        var x = Vector256.Load(a);
                        var y = Vector256.Load(a + (4 * Lanes));
                        var c = Broadcast(codes + j);
                        p0 = AvxVnni.MultiplyWideningAndAdd(p0, c, x);
                        q0 = AvxVnni.MultiplyWideningAndAdd(q0, c, y);
                        c = Broadcast(codes + j + TTile.K);
                        p1 = AvxVnni.MultiplyWideningAndAdd(p1, c, x);
                        q1 = AvxVnni.MultiplyWideningAndAdd(q1, c, y);
                        c = Broadcast(codes + j + (2 * TTile.K));
                        p2 = AvxVnni.MultiplyWideningAndAdd(p2, c, x);
                        q2 = AvxVnni.MultiplyWideningAndAdd(q2, c, y);
                        c = Broadcast(codes + j + (3 * TTile.K));
                        p3 = AvxVnni.MultiplyWideningAndAdd(p3, c, x);
                        q3 = AvxVnni.MultiplyWideningAndAdd(q3, c, y);
                        c = Broadcast(codes + j + (4 * TTile.K));
                        p4 = AvxVnni.MultiplyWideningAndAdd(p4, c, x);
                        q4 = AvxVnni.MultiplyWideningAndAdd(q4, c, y);
                    }
                }

                Add(totals, p0, q0, scales);
                Add(totals + Rows, p1, q1, scales + PanelCodes.MaxRuns);
                Add(totals + (2 * Rows), p2, q2, scales + (2 * PanelCodes.MaxRuns));
                Add(totals + (3 * Rows), p3, q3, scales + (3 * PanelCodes.MaxRuns));
                Add(totals + (4 * Rows), p4, q4, scales + (4 * PanelCodes.MaxRuns));
            }
        }

        [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
        private static void SixChannels<TTile>(PanelArguments* arguments, int channel, int run)
            where TTile : struct, IPanelTile
        {
            var a = arguments->A;
            var codes = arguments->Codes + (channel * TTile.K);
            var scales = arguments->Scales + (channel * PanelCodes.MaxRuns);
            var totals = arguments->Totals + (channel * Rows);
            var next = arguments->Next == null ? null : arguments->Next + (channel * arguments->RowBytes);
            var rowBytes = arguments->RowBytes;
            for (var i = 0; i < (int)arguments->Runs; i++, scales++)
            {
                if (next != null)
                {
                    Sse.Prefetch0(next);
                    Sse.Prefetch0(next + rowBytes);
                    Sse.Prefetch0(next + (2 * rowBytes));
                    Sse.Prefetch0(next + (3 * rowBytes));
                    Sse.Prefetch0(next + (4 * rowBytes));
                    Sse.Prefetch0(next + (5 * rowBytes));
                    next += PanelTiles.FetchRun / 2;
                }

                Vector256<int> p0 = default, q0 = default, p1 = default, q1 = default, p2 = default, q2 = default, p3 = default, q3 = default, p4 = default, q4 = default, p5 = default, q5 = default;
                for (var k = 0; k < run; k += TTile.K, codes += PanelCodes.TileChannels * TTile.K)
                {
                    for (var j = 0; j < TTile.K; j += 4, a += 4 * Rows)
                    {
                        var x = Vector256.Load(a);
                        var y = Vector256.Load(a + (4 * Lanes));
                        var c = Broadcast(codes + j);
                        p0 = AvxVnni.MultiplyWideningAndAdd(p0, c, x);
                        q0 = AvxVnni.MultiplyWideningAndAdd(q0, c, y);
                        c = Broadcast(codes + j + TTile.K);
                        p1 = AvxVnni.MultiplyWideningAndAdd(p1, c, x);
                        q1 = AvxVnni.MultiplyWideningAndAdd(q1, c, y);
                        c = Broadcast(codes + j + (2 * TTile.K));
                        p2 = AvxVnni.MultiplyWideningAndAdd(p2, c, x);
                        q2 = AvxVnni.MultiplyWideningAndAdd(q2, c, y);
                        c = Broadcast(codes + j + (3 * TTile.K));
                        p3 = AvxVnni.MultiplyWideningAndAdd(p3, c, x);
                        q3 = AvxVnni.MultiplyWideningAndAdd(q3, c, y);
                        c = Broadcast(codes + j + (4 * TTile.K));
                        p4 = AvxVnni.MultiplyWideningAndAdd(p4, c, x);
                        q4 = AvxVnni.MultiplyWideningAndAdd(q4, c, y);
                        c = Broadcast(codes + j + (5 * TTile.K));
                        p5 = AvxVnni.MultiplyWideningAndAdd(p5, c, x);
                        q5 = AvxVnni.MultiplyWideningAndAdd(q5, c, y);
                    }
                }

                Add(totals, p0, q0, scales);
                Add(totals + Rows, p1, q1, scales + PanelCodes.MaxRuns);
                Add(totals + (2 * Rows), p2, q2, scales + (2 * PanelCodes.MaxRuns));
                Add(totals + (3 * Rows), p3, q3, scales + (3 * PanelCodes.MaxRuns));
                Add(totals + (4 * Rows), p4, q4, scales + (4 * PanelCodes.MaxRuns));
                Add(totals + (5 * Rows), p5, q5, scales + (5 * PanelCodes.MaxRuns));
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static Vector256<byte> Broadcast(byte* codes) => Vector256.Create(*(int*)codes).AsByte();

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static void Add(int* totals, Vector256<int> p, Vector256<int> q, int* scale)
        {
            var s = Vector256.Create(*scale);
            (Vector256.Load(totals) + (p * s)).Store(totals);
            (Vector256.Load(totals + Lanes) + (q * s)).Store(totals + Lanes);
        }
    }
}
