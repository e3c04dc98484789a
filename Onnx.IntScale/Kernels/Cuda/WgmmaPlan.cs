namespace Onnx.IntScale;

/// <summary>
/// Launches of wgmma.cu, for compute capability 9.0: tiles of 128 channels by 16 to 128 tokens, one thread block a multiprocessor, whose K is
/// split over a cluster where tiles are few.
/// </summary>
internal static class WgmmaPlan
{
    private const int Channels = 128;
    private const int Threads = 384;
    private const int SpanStages = 16;
    private const int MostSlices = 4;
    private const int TileOverhead = 8;   // what a tile costs besides its stages, in stages
    private const int SplitOverhead = 2;  // and what adding partial sums costs

    /// <summary>Tokens of the tiles for M rows.</summary>
    public static int TokensOf(int m) => m switch { <= 16 => 16, <= 32 => 32, <= 64 => 64, _ => 128 };

    /// <summary>The plan of a call with M rows.</summary>
    public static CudaPlan Of(MatMulShape shape, int m, ElementType type, CudaFold fold, in CudaDevice device)
    {
        var tokens = TokensOf(m);
        var rows = (int)((((uint)m + tokens - 1) / tokens) * tokens);
        var (tilesN, tilesM) = ((shape.N + Channels - 1) / Channels, rows / tokens);
        var slices = Slices(CudaPlanner.Stages(shape.K), (long)tilesN * tilesM, device.SmCount);
        var matMul = new CudaLaunch(CudaKernels.Wgmma(shape.BlockSize, tokens, fold), tilesN * slices, tilesM, 1, Threads, slices, SharedBytes(shape.BlockSize, tokens, fold), true);
        return CudaPlanner.WithScratch(CudaPlanner.Quantize(shape, m, type, shape.BlockSize), matMul, shape, rows);
    }

    /// <summary>Dynamic shared memory of a thread block: the layout of wgmma_tile.cuh.</summary>
    public static int SharedBytes(int block, int tokens, CudaFold fold)
    {
        var stages = (block, tokens) switch { (32, 32) => 8, (32, 128) => 4, (_, 16 or 32) => 16, _ => 8 };
        var groups = SpanStages * 128 / block;
        var spanWords = ((groups / 2) + 1) | 1;
        if (fold == CudaFold.Times1) spanWords += (((groups / 2) + 1 + 6) / 4) | 1;
        var scalesAt = (stages * ((tokens * 128) + (Channels * 64))) + (2 * Channels * spanWords * 4);
        var barriersAt = (scalesAt + (tokens * 4) + 7) & -8;
        return barriersAt + ((((stages + 2) * 2) + 2) * 8) + 1024;
    }

    /// <summary>Slices of K that take the least time: waves of thread blocks, each of its stages and what comes on top.</summary>
    private static int Slices(int stages, long tiles, int multiprocessors)
    {
        var (best, least) = (1, long.MaxValue);
        for (var slices = 1; slices <= Math.Min(MostSlices, stages); slices++)
        {
            // Clusters of more than two leave some multiprocessors of each processing cluster idle.
            long together = Math.Max(1, slices <= 2 ? multiprocessors / slices : multiprocessors * 10 / 11 / slices);
            var waves = (tiles + together - 1) / together;
            var cost = waves * (((stages + slices - 1) / slices) + TileOverhead + (slices > 1 ? SplitOverhead : 0));
            if (cost < least) (best, least) = (slices, cost);
        }

        return best;
    }
}
