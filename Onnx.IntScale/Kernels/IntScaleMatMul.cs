namespace Onnx.IntScale;

/// <summary>
/// One call of the operator as two rounds of independent tasks, so that any thread pool can run them:
/// first every <see cref="QuantizeTasks"/>, then every <see cref="TileTasks"/>. The result does not depend on who runs which when.
/// </summary>
public static unsafe class IntScaleMatMul
{
    private const int RowsPerTask = 8;
    private const int TileM = 16;
    private const int TileN = 64;
    private const int TaskM = 128;

    /// <summary>Tasks of the first round.</summary>
    public static int QuantizeTasks(in MatMulJob job) => (job.M + RowsPerTask - 1) / RowsPerTask;

    /// <summary>Tasks of the second round.</summary>
    public static int TileTasks(in MatMulJob job) => PanelsN(job) * ((job.M + TaskM - 1) / TaskM);

    /// <summary>Quantizes the rows of A that belong to a task (0..<see cref="QuantizeTasks"/>).</summary>
    public static void Quantize(in MatMulJob job, int task)
    {
        var end = Math.Min(job.M, (task + 1) * RowsPerTask);
        for (var m = task * RowsPerTask; m < end; m++) ActivationQuantizer.QuantizeRow(job, m);
    }

    /// <summary>Computes the tiles of Y that belong to a task (0..<see cref="TileTasks"/>): a panel of channels, which stays in the cache, by all its rows.</summary>
    public static void ComputeTiles(in MatMulJob job, CpuKernel kernel, int task)
    {
        var acc = stackalloc int[TileM * TileN];
        var panels = PanelsN(job);
        var n0 = task % panels * TileN;
        var n1 = Math.Min(job.Weights.Shape.N, n0 + TileN);
        var end = Math.Min(job.M, ((task / panels) + 1) * TaskM);
        for (var m0 = task / panels * TaskM; m0 < end; m0 += TileM)
        {
            var m1 = Math.Min(end, m0 + TileM);
            kernel.Accumulate(job, m0, m1, n0, n1, acc);
            for (var m = m0; m < m1; m++) Epilogue.StoreRow(job, m, n0, n1, acc + ((m - m0) * (n1 - n0)));
        }
    }

    /// <summary>Runs a whole call on this thread.</summary>
    public static void Run(in MatMulJob job, CpuKernel kernel)
    {
        for (var t = 0; t < QuantizeTasks(job); t++) Quantize(job, t);
        for (var t = 0; t < TileTasks(job); t++) ComputeTiles(job, kernel, t);
    }

    private static int PanelsN(in MatMulJob job) => (job.Weights.Shape.N + TileN - 1) / TileN;
}
