using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>
/// AVX-512BW for many rows, in pure C#, on <see cref="PanelTiles"/>:
/// <code>
/// p16[n] += vpmaddubsw(broadcast u[n, 4 k], a8[4 k, 16 rows])          8 steps: 8·2·15·127 = 30480 fits int16
/// acc[n] += vpmaddwd(p16[n], broadcast scales[n,g])                    once per 32 k: the integer scale costs nothing extra
/// </code>
/// Where the zero point is 8, p16 begins with -8 · (what a lane adds up of a8) instead of 0 (<see cref="PanelLaneSums"/>): nothing is owed later, and
/// each k moves a lane by 8·127 at most, so that 16 steps fit, 32 · 8 · 127 = 32512, and scaling comes half as often.
/// </summary>
public static unsafe class Avx512PanelKernel
{
    private const int Rows = ActivationOrder.PanelRows;

    /// <summary>Whether this processor has AVX-512BW.</summary>
    public static bool IsSupported => Avx512BW.IsSupported;

    /// <inheritdoc cref="AccumulateTile"/>
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc) => PanelTiles.Accumulate<Loops>(job, m0, m1, n0, n1, acc);

    /// <summary>What sums of products begin with; a constant to the compiler of a loop.</summary>
    private interface IBegin
    {
        /// <summary>Steps of four k that fit int16.</summary>
        static abstract int Steps { get; }

        /// <summary>The next 64 k's beginning.</summary>
        static abstract Vector512<short> Load(ref short* sums);
    }

    private readonly struct FromZero : IBegin
    {
        public static int Steps => 8;

        public static Vector512<short> Load(ref short* sums) => default;
    }

    private readonly struct FromSums : IBegin
    {
        public static int Steps => 16;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector512<short> Load(ref short* sums)
        {
            var begin = Vector512.Load(sums);
            sums += PanelLaneSums.Lanes;
            return begin;
        }
    }

    private readonly struct Loops : IPanelLoops
    {
        public static (int Two, int One) Channels => (4, 8);

        public static bool SignedCodes => false;

        public static bool BeginsWithLaneSums => true;

        /// <summary>Twice, for a vector of int16.</summary>
        public static int Scale(short scale) => (ushort)scale * 0x10001;

        public static void OnePanel(PanelArguments* arguments, int run)
        {
            if (arguments->LaneSums != null) OnePanel<PanelTile64, FromSums>(arguments, run);
            else if (run >= 64) OnePanel<PanelTile64, FromZero>(arguments, run);
            else if (run == 32) OnePanel<PanelTile32, FromZero>(arguments, run);
            else OnePanel<PanelTile16, FromZero>(arguments, run);
        }

        public static void TwoPanels(PanelArguments* arguments, int run)
        {
            if (arguments->LaneSums != null) TwoPanels<PanelTile64, FromSums>(arguments, run);
            else if (run >= 64) TwoPanels<PanelTile64, FromZero>(arguments, run);
            else if (run == 32) TwoPanels<PanelTile32, FromZero>(arguments, run);
            else TwoPanels<PanelTile16, FromZero>(arguments, run);
        }

        [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
        private static void OnePanel<TTile, TBegin>(PanelArguments* arguments, int run)
            where TTile : struct, IPanelTile
            where TBegin : struct, IBegin
        {
            var a = arguments->A;
            var codes = arguments->Codes;
            var scales = arguments->Scales;
            var totals = arguments->Totals;
            Vector512<int> t0 = default, t1 = default, t2 = default, t3 = default, t4 = default, t5 = default, t6 = default, t7 = default;
            var sums = arguments->LaneSums;
            var next = arguments->Next;
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
                    Sse.Prefetch0(next + (6 * rowBytes));
                    Sse.Prefetch0(next + (7 * rowBytes));
                    next += PanelTiles.FetchRun / 2;
                }

                for (var k = 0; k < run; k += TTile.K, codes += PanelCodes.TileChannels * TTile.K)
                {
                    for (var batch = 0; batch < TTile.K; batch += Batch<TTile, TBegin>())
                    {
                        var begin = TBegin.Load(ref sums);
                        Vector512<short> p0 = begin, p1 = begin, p2 = begin, p3 = begin, p4 = begin, p5 = begin, p6 = begin, p7 = begin;
                        for (var j = batch; j < batch + Batch<TTile, TBegin>(); j += 4, a += 4 * Rows)
                        {
                            var x = Vector512.Load(a);
                            p0 += Avx512BW.MultiplyAddAdjacent(Broadcast(codes + j), x);
                            p1 += Avx512BW.MultiplyAddAdjacent(Broadcast(codes + j + TTile.K), x);
                            p2 += Avx512BW.MultiplyAddAdjacent(Broadcast(codes + j + (2 * TTile.K)), x);
                            p3 += Avx512BW.MultiplyAddAdjacent(Broadcast(codes + j + (3 * TTile.K)), x);
                            p4 += Avx512BW.MultiplyAddAdjacent(Broadcast(codes + j + (4 * TTile.K)), x);
                            p5 += Avx512BW.MultiplyAddAdjacent(Broadcast(codes + j + (5 * TTile.K)), x);
                            p6 += Avx512BW.MultiplyAddAdjacent(Broadcast(codes + j + (6 * TTile.K)), x);
                            p7 += Avx512BW.MultiplyAddAdjacent(Broadcast(codes + j + (7 * TTile.K)), x);
                        }

                        t0 += Scaled(p0, scales);
                        t1 += Scaled(p1, scales + PanelCodes.MaxRuns);
                        t2 += Scaled(p2, scales + (2 * PanelCodes.MaxRuns));
                        t3 += Scaled(p3, scales + (3 * PanelCodes.MaxRuns));
                        t4 += Scaled(p4, scales + (4 * PanelCodes.MaxRuns));
                        t5 += Scaled(p5, scales + (5 * PanelCodes.MaxRuns));
                        t6 += Scaled(p6, scales + (6 * PanelCodes.MaxRuns));
                        t7 += Scaled(p7, scales + (7 * PanelCodes.MaxRuns));
                    }
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

        /// <summary>Each broadcast serves 32 rows.</summary>
        [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
        private static void TwoPanels<TTile, TBegin>(PanelArguments* arguments, int run)
            where TTile : struct, IPanelTile
            where TBegin : struct, IBegin
        {
            var a = arguments->A;
            var b = a + arguments->PanelBytes;
            var codes = arguments->Codes;
            var scales = arguments->Scales;
            var totals = arguments->Totals;
            Vector512<int> t0 = default, t1 = default, t2 = default, t3 = default, u0 = default, u1 = default, u2 = default, u3 = default;
            var sums = arguments->LaneSums;
            var otherSums = sums + arguments->LaneSumsStride;
            var next = arguments->Next;
            var rowBytes = arguments->RowBytes;
            for (var i = 0; i < (int)arguments->Runs; i++, scales++)
            {
                if (next != null)
                {
                    Sse.Prefetch0(next);
                    Sse.Prefetch0(next + rowBytes);
                    Sse.Prefetch0(next + (2 * rowBytes));
                    Sse.Prefetch0(next + (3 * rowBytes));
                    next += PanelTiles.FetchRun / 2;
                }

                for (var k = 0; k < run; k += TTile.K, codes += PanelCodes.TileChannels * TTile.K)
                {
                    for (var batch = 0; batch < TTile.K; batch += Batch<TTile, TBegin>())
                    {
                        var (begin, other) = (TBegin.Load(ref sums), TBegin.Load(ref otherSums));
                        Vector512<short> p0 = begin, p1 = begin, p2 = begin, p3 = begin, q0 = other, q1 = other, q2 = other, q3 = other;
                        for (var j = batch; j < batch + Batch<TTile, TBegin>(); j += 4, a += 4 * Rows, b += 4 * Rows)
                        {
                            var x = Vector512.Load(a);
                            var y = Vector512.Load(b);
                            var c = Broadcast(codes + j);
                            p0 += Avx512BW.MultiplyAddAdjacent(c, x);
                            q0 += Avx512BW.MultiplyAddAdjacent(c, y);
                            c = Broadcast(codes + j + TTile.K);
                            p1 += Avx512BW.MultiplyAddAdjacent(c, x);
                            q1 += Avx512BW.MultiplyAddAdjacent(c, y);
                            c = Broadcast(codes + j + (2 * TTile.K));
                            p2 += Avx512BW.MultiplyAddAdjacent(c, x);
                            q2 += Avx512BW.MultiplyAddAdjacent(c, y);
                            c = Broadcast(codes + j + (3 * TTile.K));
                            p3 += Avx512BW.MultiplyAddAdjacent(c, x);
                            q3 += Avx512BW.MultiplyAddAdjacent(c, y);
                        }

                        t0 += Scaled(p0, scales);
                        u0 += Scaled(q0, scales);
                        t1 += Scaled(p1, scales + PanelCodes.MaxRuns);
                        u1 += Scaled(q1, scales + PanelCodes.MaxRuns);
                        t2 += Scaled(p2, scales + (2 * PanelCodes.MaxRuns));
                        u2 += Scaled(q2, scales + (2 * PanelCodes.MaxRuns));
                        t3 += Scaled(p3, scales + (3 * PanelCodes.MaxRuns));
                        u3 += Scaled(q3, scales + (3 * PanelCodes.MaxRuns));
                    }
                }
            }

            Add(totals, t0);
            Add(totals + Rows, t1);
            Add(totals + (2 * Rows), t2);
            Add(totals + (3 * Rows), t3);
            totals += PanelTiles.Channels * Rows;
            Add(totals, u0);
            Add(totals + Rows, u1);
            Add(totals + (2 * Rows), u2);
            Add(totals + (3 * Rows), u3);
        }

        /// <summary>k whose products fit int16 lanes.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static int Batch<TTile, TBegin>()
            where TTile : struct, IPanelTile
            where TBegin : struct, IBegin => Math.Min(TBegin.Steps * 4, TTile.K);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static Vector512<byte> Broadcast(byte* codes) => Vector512.Create(*(int*)codes).AsByte();

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static Vector512<int> Scaled(Vector512<short> p16, int* scale) => Avx512BW.MultiplyAddAdjacent(p16, Vector512.Create(*scale).AsInt16());

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static void Add(int* totals, Vector512<int> value) => (Vector512.Load(totals) + value).Store(totals);
    }
}
