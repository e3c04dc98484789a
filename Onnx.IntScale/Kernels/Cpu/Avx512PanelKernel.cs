using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>
/// AVX-512BW for many rows, in pure C#, on <see cref="PanelTiles"/>:
/// <code>
/// p16[n] += vpmaddubsw(broadcast u[n, 4 k], a8[4 k, 16 rows])          up to 8 steps: 8·2·15·127 = 30480 fits int16
/// acc[n] += vpmaddwd(p16[n], broadcast scales[n,g])                    once per 32 k: the integer scale costs nothing extra
/// </code>
/// </summary>
public static unsafe class Avx512PanelKernel
{
    private const int Rows = ActivationOrder.PanelRows;
    private const int Stride = PanelTiles.Stride;
    private const int MaxRuns = PanelTiles.MaxRuns;

    /// <summary>Whether this processor has AVX-512BW.</summary>
    public static bool IsSupported => Avx512BW.IsSupported;

    /// <inheritdoc cref="AccumulateTile"/>
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc) => PanelTiles.Accumulate<Loops>(job, m0, m1, n0, n1, acc);

    private readonly struct Loops : IPanelLoops
    {
        public static (int Two, int One) Channels => (4, 8);

        /// <summary>Twice, for a vector of int16.</summary>
        public static int Scale(short scale) => (ushort)scale * 0x10001;

        [MethodImpl(MethodImplOptions.NoInlining)]
        public static void OnePanel(PanelArguments* arguments, int run)
        {
            var a = arguments->A;
            var codes = arguments->Codes;
            var scales = arguments->Scales;
            var totals = arguments->Totals;
            var length = (int)arguments->Runs * run;
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

                    t0 += Scaled(p0, scales);
                    t1 += Scaled(p1, scales + MaxRuns);
                    t2 += Scaled(p2, scales + (2 * MaxRuns));
                    t3 += Scaled(p3, scales + (3 * MaxRuns));
                    t4 += Scaled(p4, scales + (4 * MaxRuns));
                    t5 += Scaled(p5, scales + (5 * MaxRuns));
                    t6 += Scaled(p6, scales + (6 * MaxRuns));
                    t7 += Scaled(p7, scales + (7 * MaxRuns));
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
        [MethodImpl(MethodImplOptions.NoInlining)]
        public static void TwoPanels(PanelArguments* arguments, int run)
        {
            var a = arguments->A;
            var codes = arguments->Codes;
            var scales = arguments->Scales;
            var totals = arguments->Totals;
            var length = (int)arguments->Runs * run;
            var b = a + arguments->PanelBytes;
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

                    t0 += Scaled(p0, scales);
                    u0 += Scaled(q0, scales);
                    t1 += Scaled(p1, scales + MaxRuns);
                    u1 += Scaled(q1, scales + MaxRuns);
                    t2 += Scaled(p2, scales + (2 * MaxRuns));
                    u2 += Scaled(q2, scales + (2 * MaxRuns));
                    t3 += Scaled(p3, scales + (3 * MaxRuns));
                    u3 += Scaled(q3, scales + (3 * MaxRuns));
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

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static Vector512<byte> Broadcast(byte* codes) => Vector512.Create(*(int*)codes).AsByte();

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static Vector512<int> Scaled(Vector512<short> p16, int* scale) => Avx512BW.MultiplyAddAdjacent(p16, Vector512.Create(*scale).AsInt16());

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static void Add(int* totals, Vector512<int> value) => (Vector512.Load(totals) + value).Store(totals);
    }
}
