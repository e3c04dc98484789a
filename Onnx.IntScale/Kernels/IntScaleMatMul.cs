using System.Runtime.CompilerServices;

namespace Onnx.IntScale;

/// <summary>
/// One call of the operator as two rounds of independent tasks, so that any thread pool can run them:
/// first every <see cref="QuantizeTasks"/>, then every <see cref="TileTasks"/>. The result does not depend on who runs which when.
/// </summary>
public static unsafe class IntScaleMatMul
{
    /// <summary>Rows of a task; whole panels, so that no two tasks write to one cache line of them.</summary>
    private const int RowsPerTask = ActivationOrder.PanelRows;
    private const int TileN = PanelTiles.Channels;

    /// <summary>Rows of a tile: many, so that unpacking is shared, unless that leaves a large thread pool without work.</summary>
    private const int MostTileM = 256;
    private const int LeastTileM = 64;
    private const int EnoughTasks = 64;

    /// <summary>Tasks of the first round.</summary>
    public static int QuantizeTasks(in MatMulJob job) => (job.Plan.ScratchRows(job.M) + RowsPerTask - 1) / RowsPerTask;

    /// <summary>Tasks of the second round.</summary>
    public static int TileTasks(in MatMulJob job) => PanelsN(job) * ((job.M + TileM(job) - 1) / TileM(job));

    /// <summary>Quantizes the rows of A that belong to a task (0..<see cref="QuantizeTasks"/>).</summary>
    public static void Quantize(in MatMulJob job, int task)
    {
        ActivationQuantizer.Quantize(job, task * RowsPerTask, Math.Min(job.Plan.ScratchRows(job.M), (task + 1) * RowsPerTask));
    }

    /// <summary>Computes the tile of Y that belongs to a task (0..<see cref="TileTasks"/>).</summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void ComputeTiles(in MatMulJob job, int task)
    {
        var panels = PanelsN(job);
        var tileM = TileM(job);
        var n0 = task % panels * TileN;
        var n1 = Math.Min(job.Weights.Shape.N, n0 + TileN);
        var m0 = task / panels * tileM;
        var m1 = Math.Min(job.M, m0 + tileM);
        var split = Math.Clamp(job.Plan.PanelRows, m0, m1);
        if (m0 < split)
        {
            var room = stackalloc int[PanelTiles.TotalsLength(split - m0) + PanelTiles.Rows];
            var totals = (int*)(((long)room + 63) & -64);
            CpuKernels.All[job.Plan.Panel].Accumulate(job, m0, split, n0, n1, totals);
            PanelTiles.Store(job, m0, split, n0, n1, totals);
        }

        if (split == m1) return;
        var acc = stackalloc int[(m1 - split) * (n1 - n0)];
        CpuKernels.All[job.Plan.Row].Accumulate(job, split, m1, n0, n1, acc);
        for (var m = split; m < m1; m++) Epilogue.StoreRow(job, m, n0, n1, acc + ((m - split) * (n1 - n0)));
    }

    /// <summary>Runs a whole call on this thread.</summary>
    public static void Run(in MatMulJob job)
    {
        for (var t = 0; t < QuantizeTasks(job); t++) Quantize(job, t);
        for (var t = 0; t < TileTasks(job); t++) ComputeTiles(job, t);
    }

    private static int TileM(in MatMulJob job)
    {
        var rows = MostTileM;
        while (rows > LeastTileM && PanelsN(job) * (long)((job.M + rows - 1) / rows) < EnoughTasks) rows /= 2;
        return rows;
    }

    private static int PanelsN(in MatMulJob job) => (job.Weights.Shape.N + TileN - 1) / TileN;
}
