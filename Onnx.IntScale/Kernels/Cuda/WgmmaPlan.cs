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

    /// <summary>Tokens of a tile and slices of K.</summary>
    public readonly record struct Tiling(int Tokens, int Slices);

    /// <summary>The tiling of a call with M rows that should take the least time.</summary>
    public static Tiling TilingOf(MatMulShape shape, int m, in CudaDevice device)
    {
        if (m <= 64) return Cheapest(shape, m, m <= 16 ? 16 : m <= 32 ? 32 : 64, device).Tiling;
        // A stage of either takes about as long, so tiles of 64 are for shapes that have too few of 128.
        var (small, large) = (Cheapest(shape, m, 64, device), Cheapest(shape, m, 128, device));
        return small.Cost < large.Cost ? small.Tiling : large.Tiling;
    }

    /// <summary>The plan of a call with M rows.</summary>
    public static CudaPlan Of(MatMulShape shape, int m, ElementType type, CudaFold fold, in CudaDevice device)
    {
        var (tokens, slices) = TilingOf(shape, m, device);
        var (tilesN, tilesM) = (Tiles(shape.N, Channels), Tiles(m, tokens));
        var matMul = new CudaLaunch(CudaKernels.Wgmma(shape.BlockSize, tokens, fold), tilesN * slices, tilesM, 1, Threads, slices, SharedBytes(shape.BlockSize, tokens, fold), true);
        return CudaPlanner.WithScratch(CudaPlanner.Quantize(shape, m, type, shape.BlockSize), matMul, shape, tilesM * tokens);
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

    private static int Tiles(int size, int tile) => (int)(((uint)size + tile - 1) / tile);

    /// <summary>Slices of K that take the least time, in stages: waves of thread blocks, each of its stages and what comes on top.</summary>
    private static (Tiling Tiling, long Cost) Cheapest(MatMulShape shape, int m, int tokens, in CudaDevice device)
    {
        var stages = CudaPlanner.Stages(shape.K);
        var tiles = (long)Tiles(shape.N, Channels) * Tiles(m, tokens);
        // What a tile costs besides its stages, and what adding partial sums costs (benchmarks/cuda.md).
        var (tileOverhead, splitOverhead) = tokens == 128 ? (16, 4) : (8, 2);
        var (best, least) = (1, long.MaxValue);
        for (var slices = 1; slices <= Math.Min(MostSlices, stages); slices++)
        {
            // Clusters of more than two leave some multiprocessors of each processing cluster idle.
            long together = Math.Max(1, slices <= 2 ? device.SmCount / slices : device.SmCount * 10 / 11 / slices);
            var waves = (tiles + together - 1) / together;
            var cost = waves * (((stages + slices - 1) / slices) + tileOverhead + (slices > 1 ? splitOverhead : 0));
            if (cost < least) (best, least) = (slices, cost);
        }

        return (new(tokens, best), least);
    }
}
