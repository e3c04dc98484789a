namespace Onnx.IntScale;

/// <summary>
/// Launches of wgmma.cuh's kernels, for compute capability 9.0: tiles of 128 channels by 16 to 256 tokens, one thread block a multiprocessor, which
/// computes one tile after the other, or a slice of K of one tile where tiles are few.
/// </summary>
internal static class WgmmaPlan
{
    private const int Channels = 128;
    private const int Threads = 384;
    private const int SpanStages = 16;
    private const int MostSlices = 4;

    /// <summary>How a call is cut up.</summary>
    /// <param name="Tokens">Of a tile.</param>
    /// <param name="Slices">Of K.</param>
    /// <param name="Fold">How groups are scaled.</param>
    public readonly record struct Tiling(int Tokens, int Slices, CudaFold Fold);

    /// <summary>The tiling of a call with M rows that should take the least time.</summary>
    public static Tiling TilingOf(MatMulShape shape, int m, in WeightFacts weights, in CudaDevice device)
    {
        var best = Cheapest(shape, m, weights.Fold, device);
        if (m <= 64 || !weights.FitInt8) return best.Tiling;
        for (var tokens = 128; tokens <= 256; tokens *= 2)
        {
            var scaled = Cheapest(shape, m, tokens, CudaFold.Scaled, device);
            if (scaled.Cost < best.Cost) best = scaled;
        }

        return best.Tiling;
    }

    /// <summary>The same where group sums are multiplied one way.</summary>
    public static Tiling TilingOf(MatMulShape shape, int m, CudaFold fold, in CudaDevice device) => Cheapest(shape, m, fold, device).Tiling;

    /// <summary>The plan of a call with M rows.</summary>
    public static CudaPlan Of(MatMulShape shape, int m, ElementType type, in WeightFacts weights, in CudaDevice device) =>
        Of(shape, m, type, TilingOf(shape, m, weights, device), device);

    /// <summary>The plan of a call that is cut up so.</summary>
    public static CudaPlan Of(MatMulShape shape, int m, ElementType type, Tiling tiling, in CudaDevice device)
    {
        var (tokens, slices, fold) = tiling;
        var (tilesN, tilesM) = (Tiles(shape.N, Channels), Tiles(m, tokens));
        var tiles = (long)tilesN * tilesM;
        var blocks = slices == 1 ? Math.Min(tiles, device.SmCount) : tiles * slices;
        // A kernel that need not ask whether there are more tiles is faster; for folds it is not.
        var cut = slices > 1 ? CudaCut.Slices : tiles == blocks && fold == CudaFold.Scaled ? CudaCut.Tile : CudaCut.Tiles;
        var matMul = new CudaLaunch(CudaKernels.Wgmma(shape.BlockSize, tokens, fold, cut), (int)blocks, 1, 1, Threads, slices, SharedBytes(shape.BlockSize, tokens, fold), true);
        return CudaPlanner.WithScratch(CudaPlanner.Quantize(shape, m, type, shape.BlockSize), matMul, shape, tilesM * tokens);
    }

    /// <summary>Dynamic shared memory of a thread block: the layout of wgmma_tile.cuh.</summary>
    public static int SharedBytes(int block, int tokens, CudaFold fold)
    {
        var stages = (block, tokens) switch { (32, 32) => 8, (_, 256) or (32, 128) => 4, (_, 16 or 32) => 16, _ => 8 };
        var barriers = ((stages + 4) * 2) + 1 + (fold == CudaFold.Scaled ? stages * 2 : 0);
        var groups = SpanStages * 128 / block;
        var spanWords = ((groups / 2) + 1) | 1;
        if (fold == CudaFold.Times1) spanWords += (((groups / 2) + 1 + 6) / 4) | 1;
        var staged = tokens switch
        {
            256 => block == 32 ? 64 : 128,
            128 => block != 64 ? 64 : fold == CudaFold.Times1 ? 16 : 32,
            _ => tokens,
        };
        var stagingAt = (stages * ((tokens * 128) + (Channels * 64))) + (2 * Channels * spanWords * 4);
        var factorsAt = stagingAt + (2 * staged * 144);
        var barriersAt = factorsAt + (2 * ((2 * Channels) + tokens) * 4);
        return barriersAt + (barriers * 8) + 1024;
    }

    private static int Tiles(int size, int tile) => (int)(((uint)size + tile - 1) / tile);

    private static (Tiling Tiling, long Cost) Cheapest(MatMulShape shape, int m, CudaFold fold, in CudaDevice device)
    {
        if (m <= 64) return Cheapest(shape, m, m <= 16 ? 16 : m <= 32 ? 32 : 64, fold, device);
        var (small, large) = (Cheapest(shape, m, 64, fold, device), Cheapest(shape, m, 128, fold, device));
        return small.Cost < large.Cost ? small : large;
    }

    /// <summary>Slices of K that take the least time: waves of thread blocks, each of its stages and what comes on top.</summary>
    private static (Tiling Tiling, long Cost) Cheapest(MatMulShape shape, int m, int tokens, CudaFold fold, in CudaDevice device)
    {
        var stages = CudaPlanner.Stages(shape.K);
        var tiles = (long)Tiles(shape.N, Channels) * Tiles(m, tokens);
        // Cycles, as measured on an H100 (benchmarks/cuda.md).
        var (perStage, perTile, perSplit) = (tokens, fold) switch
        {
            (16, _) => (330, 900, 1000),
            (32, _) => (380, 1200, 1200),
            (64, _) => (450, 1700, 1500),
            (128, CudaFold.Scaled) => (590, 2500, 6500),
            (128, _) => (680, 2500, 6500),
            _ => (1085, 4500, 0),
        };
        // The partial sums of 256 tokens would not fit where the stages were.
        var most = tokens > 128 ? 1 : Math.Min(MostSlices, stages);
        var (best, least) = (1, long.MaxValue);
        for (var slices = 1; slices <= most; slices++)
        {
            // Clusters of more than two leave some multiprocessors of each processing cluster idle.
            long together = Math.Max(1, slices <= 2 ? device.SmCount / slices : device.SmCount * 10 / 11 / slices);
            var waves = (tiles + together - 1) / together;
            var cost = waves * (((stages + slices - 1) / slices * (long)perStage) + perTile + (slices > 1 ? perSplit : 0));
            if (cost < least) (best, least) = (slices, cost);
        }

        return (new(tokens, best, fold), least);
    }
}
