using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>What a panel kernel's totals [panel, channel, row] owe for unsigned codes: see <see cref="ZeroPointPlanes"/>.</summary>
internal static unsafe class PanelZeroPoints
{
    private const int Rows = ActivationOrder.PanelRows;

    /// <summary>Channels at a time, whose sums need not wait for each other.</summary>
    private const int AtOnce = 4;

    /// <summary>totals[p, i, r] = -Σ_g scales[n + i, g] · zp[n + i, g] · blocksum[m0 + 16 p + r, g].</summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Owe(in MatMulJob job, int m0, int panels, int n, int channels, int* totals)
    {
        var shape = job.Weights.Shape;
        var low = stackalloc short[AtOnce * ZeroPointPlanes.Step];
        var high = stackalloc short[AtOnce * ZeroPointPlanes.Step];
        var shift = ZeroPointPlanes.LowShift(job.Weights);
        for (var i = 0; i < channels; i += AtOnce)
        {
            for (var g0 = 0; g0 < shape.KBlocks; g0 += ZeroPointPlanes.Step)
            {
                // The last channels are filled up by repeating the last one; those totals are not stored.
                var count = 0;
                for (var c = 0; c < AtOnce; c++)
                    count = ZeroPointPlanes.Fill(job.Weights, n + Math.Min(i + c, channels - 1), g0, low + (c * ZeroPointPlanes.Step), high + (c * ZeroPointPlanes.Step));

                for (var p = 0; p < panels; p++)
                {
                    var sums = job.BlockSums + ((m0 + (p * Rows)) * (long)shape.BlockSumStride) + (g0 * Rows);
                    var at = totals + (((p * PanelTiles.Channels) + i) * Rows);
                    Owe(low, sums, count, shift, g0 > 0, at);
                    if (job.Weights.ZeroPoints != null) Owe(high, sums, count, ZeroPointPlanes.HighShift, true, at);
                }
            }
        }
    }

    /// <summary>One plane of four channels; added to what is owed already, or the first.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Owe(short* planes, short* sums, int blocks, int shift, bool add, int* totals)
    {
        const int Step = ZeroPointPlanes.Step;
        Vector512<int> owed0 = default, owed1 = default, owed2 = default, owed3 = default;
        for (var g = 0; g < blocks; g += 2, planes += 2, sums += 2 * Rows)
        {
            var x = Vector512.Load(sums);
            owed0 += MultiplyAddPairs(x, Vector512.Create(*(int*)planes).AsInt16());
            owed1 += MultiplyAddPairs(x, Vector512.Create(*(int*)(planes + Step)).AsInt16());
            owed2 += MultiplyAddPairs(x, Vector512.Create(*(int*)(planes + (2 * Step))).AsInt16());
            owed3 += MultiplyAddPairs(x, Vector512.Create(*(int*)(planes + (3 * Step))).AsInt16());
        }

        ((add ? Vector512.Load(totals) : default) - (owed0 << shift)).Store(totals);
        ((add ? Vector512.Load(totals + Rows) : default) - (owed1 << shift)).Store(totals + Rows);
        ((add ? Vector512.Load(totals + (2 * Rows)) : default) - (owed2 << shift)).Store(totals + (2 * Rows));
        ((add ? Vector512.Load(totals + (3 * Rows)) : default) - (owed3 << shift)).Store(totals + (3 * Rows));
    }

    /// <summary>vpmaddwd, in halves where code compiled ahead of time knows no 512-bit one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> MultiplyAddPairs(Vector512<short> x, Vector512<short> y) => Avx512BW.IsSupported
        ? Avx512BW.MultiplyAddAdjacent(x, y)
        : Vector512.Create(Avx2.MultiplyAddAdjacent(x.GetLower(), y.GetLower()), Avx2.MultiplyAddAdjacent(x.GetUpper(), y.GetUpper()));
}
