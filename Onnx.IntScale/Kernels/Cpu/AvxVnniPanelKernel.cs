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
        public static (int Two, int One) Channels => (4, 4);

        public static bool SignedCodes => false;

        public static bool FetchesNext => false;

        public static int Scale(short scale) => scale;

        /// <summary>Eight products are all that 16 registers hold, so one panel after the other.</summary>
        public static void TwoPanels(PanelArguments* arguments, int run)
        {
            OnePanel(arguments, run);
            var second = *arguments;
            second.A += arguments->PanelBytes;
            second.Totals += PanelTiles.Channels * Rows;
            OnePanel(&second, run);
        }

        public static void OnePanel(PanelArguments* arguments, int run)
        {
            if (run >= 64) OnePanel<PanelTile64>(arguments, run);
            else if (run == 32) OnePanel<PanelTile32>(arguments, run);
            else OnePanel<PanelTile16>(arguments, run);
        }

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static void OnePanel<TTile>(PanelArguments* arguments, int run)
            where TTile : struct, IPanelTile
        {
            var a = arguments->A;
            var codes = arguments->Codes;
            var scales = arguments->Scales;
            var totals = arguments->Totals;
            for (var i = 0; i < (int)arguments->Runs; i++, scales++)
            {
                Vector256<int> p0 = default, p1 = default, p2 = default, p3 = default, q0 = default, q1 = default, q2 = default, q3 = default;
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
                    }
                }

                Add(totals, p0, q0, scales);
                Add(totals + Rows, p1, q1, scales + PanelCodes.MaxRuns);
                Add(totals + (2 * Rows), p2, q2, scales + (2 * PanelCodes.MaxRuns));
                Add(totals + (3 * Rows), p3, q3, scales + (3 * PanelCodes.MaxRuns));
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
