namespace Onnx.IntScale;

/// <summary>
/// Launches of wgmma.cuh's kernels, for compute capability 9.0: tiles of 128 or 64 channels by 16 to 256 tokens, one thread block a multiprocessor,
/// which computes one tile after the other, or a slice of K of one tile where tiles are few.
/// </summary>
internal static class WgmmaPlan
{
    private const int Threads = 384;
    private const int SpanStages = 16;
    private const int MostSlices = 4;

    /// <summary>How a call is cut up.</summary>
    /// <param name="Channels">Of a tile.</param>
    /// <param name="Tokens">Of a tile.</param>
    /// <param name="Slices">Of K.</param>
    /// <param name="Fold">How groups are scaled.</param>
    public readonly record struct Tiling(int Channels, int Tokens, int Slices, CudaFold Fold);

    /// <summary>The tiling of a call with M rows that should take the least time.</summary>
    public static Tiling TilingOf(MatMulShape shape, int m, in WeightFacts weights, in CudaDevice device)
    {
        var best = Cheapest(shape, m, weights.Fold, device);
        if (m > 64 && weights.FitInt8)
        {
            best = Cheaper(best, Cheapest(shape, m, 128, 128, CudaFold.Scaled, device));
            best = Cheaper(best, Cheapest(shape, m, 128, 256, CudaFold.Scaled, device));
            best = Cheaper(best, Cheapest(shape, m, 64, 128, CudaFold.Scaled, device));
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
        var (channels, tokens, slices, fold) = tiling;
        var (tilesN, tilesM) = (Tiles(shape.N, channels), Tiles(m, tokens));
        var tiles = (long)tilesN * tilesM;
        // Kernels of 64 channels compute one tile, or a slice of it: none goes on to a next one.
        var blocks = slices == 1 && channels == 128 ? Math.Min(tiles, device.SmCount) : tiles * slices;
        // A kernel that need not ask whether there are more tiles is faster; for folds of 128 channels it is not.
        var cut = slices > 1 ? CudaCut.Slices : channels == 64 || (tiles == blocks && fold == CudaFold.Scaled) ? CudaCut.Tile : CudaCut.Tiles;
        var matMul = new CudaLaunch(CudaKernels.Wgmma(shape.BlockSize, channels, tokens, fold, cut), (int)blocks, 1, 1, Threads, slices, SharedBytes(shape.BlockSize, channels, tokens, fold), true);
        return CudaPlanner.WithScratch(Quantize(shape, m, type, device), matMul, shape, tilesM * tokens);
    }

    /// <summary>
    /// The quantization, in thread blocks that find room beside the product before: where that product's multiprocessors have one each, of few threads,
    /// which hold two units of a long row each; and in clusters, which keep them from crowding on the multiprocessors that it left free.
    /// </summary>
    public static CudaLaunch Quantize(MatMulShape shape, int m, ElementType type, in CudaDevice device)
    {
        const int UnitsAStage = 4, Held = 2;
        const int MostThreads = 256; // with 64 registers each, beside 384 with 128
        var launch = CudaPlanner.Quantize(shape, m, type, shape.BlockSize);
        var units = (long)CudaPlanner.Stages(shape.K) * UnitsAStage;
        var threads = m <= device.SmCount && units > MostThreads ? (int)Math.Min(launch.Threads, (((units + Held - 1) / Held) + 31) & -32) : launch.Threads;
        var cluster = m switch { <= 16 or > 256 => 1, <= 128 => 4, _ => 2 };
        return launch with { Threads = threads, Cluster = cluster, GridX = (m + cluster - 1) / cluster * cluster };
    }

    /// <summary>Dynamic shared memory of a thread block: the layout of wgmma_tile.cuh.</summary>
    public static int SharedBytes(int block, int channels, int tokens, CudaFold fold)
    {
        var stages = (channels, block, tokens) switch
        {
            (64, _, _) => tokens == 128 ? 8 : 16,
            (_, 32, 32) => 8,
            (_, _, 256) or (_, 32, 128) => 4,
            (_, _, 16 or 32) => 16,
            _ => 8,
        };
        var barriers = ((stages + 4) * 2) + 1 + (fold == CudaFold.Scaled ? stages * 2 : 0);
        var groups = SpanStages * 128 / block;
        var spanWords = ((groups / 2) + 1) | 1;
        if (fold == CudaFold.Times1) spanWords += (((groups / 2) + 1 + 6) / 4) | 1;
        var ownTokens = tokens * channels / 128;
        var staged = ownTokens switch
        {
            256 => block == 32 ? 64 : 128,
            128 => block != 64 ? 64 : fold == CudaFold.Times1 ? 16 : 32,
            _ => ownTokens,
        };
        var stagingAt = (stages * ((tokens * 128) + (channels * 64))) + (2 * channels * spanWords * 4);
        var factorsAt = stagingAt + (2 * staged * 144);
        var barriersAt = factorsAt + (2 * ((2 * channels) + tokens) * 4);
        return barriersAt + (barriers * 8) + 1024;
    }

    private static int Tiles(int size, int tile) => (int)(((uint)size + tile - 1) / tile);

    private static (Tiling Tiling, long Cost) Cheaper((Tiling Tiling, long Cost) a, (Tiling Tiling, long Cost) b) => b.Cost < a.Cost ? b : a;

    private static (Tiling Tiling, long Cost) Cheapest(MatMulShape shape, int m, CudaFold fold, in CudaDevice device)
    {
        var tokens = m <= 16 ? 16 : m <= 32 ? 32 : 64;
        var best = Cheapest(shape, m, 128, tokens, fold, device);
        if (m > 64) best = Cheaper(best, Cheapest(shape, m, 128, 128, fold, device));
        // The twin has no tiles of 64 channels.
        return tokens == 16 || fold == CudaFold.Float ? best : Cheaper(best, Cheapest(shape, m, 64, tokens, fold, device));
    }

    /// <summary>Slices of K that take the least time: waves of thread blocks, each of its stages and what comes on top.</summary>
    private static (Tiling Tiling, long Cost) Cheapest(MatMulShape shape, int m, int channels, int tokens, CudaFold fold, in CudaDevice device)
    {
        var stages = CudaPlanner.Stages(shape.K);
        var tiles = (long)Tiles(shape.N, channels) * Tiles(m, tokens);
        var (perStage, perTile, perSplit) = Cycles(shape.BlockSize, channels, tokens, fold);
        // Of 64 channels by 32 tokens there are kernels for slices only.
        var least = channels == 64 && tokens == 32 ? 2 : 1;
        // The partial sums of 256 tokens would not fit where the stages were.
        var most = tokens > 128 ? 1 : Math.Min(MostSlices, stages);
        (Tiling Tiling, long Cost) best = (default, long.MaxValue);
        for (var slices = least; slices <= most; slices++)
        {
            // Clusters of more than two leave some multiprocessors of each processing cluster idle.
            long together = Math.Max(1, slices <= 2 ? device.SmCount / slices : device.SmCount * 10 / 11 / slices);
            var waves = (tiles + together - 1) / together;
            if (channels == 64 && waves > 1) continue;
            var cost = waves * (((stages + slices - 1) / slices * perStage) + perTile + (slices > 1 ? perSplit : 0));
            best = Cheaper(best, (new(channels, tokens, slices, fold), cost));
        }

        return best;
    }

    /// <summary>What a stage takes, what a tile takes on top, and what a slice of K besides.</summary>
    private static (long PerStage, long PerTile, long PerSplit) Cycles(int block, int channels, int tokens, CudaFold fold)
    {
        // As measured on an H100, small blocks on an H200 (benchmarks/cuda.md).
        var (perStage, perTile, perSplit) = (channels, tokens, fold) switch
        {
            (64, 32, _) => (260, 1200, 1200),
            (64, 64, _) => (260, 1700, 1500),
            (64, _, _) => (410, 2000, 3000),
            (_, 16, _) => (330, 900, 1000),
            (_, 32, _) => (380, 1200, 1200),
            (_, 64, _) => (450, 1700, 1500),
            (_, 128, CudaFold.Scaled) => (590, 2500, 6500),
            (_, 128, _) => (680, 2500, 6500),
            _ => (1085, 4500, 0),
        };
        // And what more groups take to fold, two or four a stage.
        var (of64, of32) = (channels, tokens, fold) switch
        {
            (_, 16, _) or (_, _, CudaFold.Scaled) => (0, 0),
            (64, 32, _) => (15, 75),
            (64, _, _) => (60, 190),
            (_, 32, _) => (120, 385),
            (_, 64, _) => (160, 380),
            _ => (260, 840),
        };
        return (perStage + block switch { 64 => of64, 32 => of32, _ => 0 }, perTile, perSplit);
    }
}
