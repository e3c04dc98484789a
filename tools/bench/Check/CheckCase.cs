namespace Onnx.IntScale.Bench;

/// <summary>How a case's numbers are drawn.</summary>
internal enum CheckFlavor
{
    /// <summary>Random weights and activations with outliers.</summary>
    Plain,

    /// <summary>Codes, scales and activations at the ends of their ranges and of such signs that every sum reaches its certificate, up or down.</summary>
    Saturated,

    /// <summary>Rows of A that are zero, tiny, huge, or hold one NaN or infinity.</summary>
    OddRows,
}

/// <summary>A random call of the operator, reproducible from its seed.</summary>
/// <param name="M">Rows of A.</param>
/// <param name="Shape">K, N, bits, block_size.</param>
/// <param name="Type">Type of A, bias and Y.</param>
/// <param name="ZeroPoints">Whether there are zero points.</param>
/// <param name="Bias">Whether there is a bias.</param>
/// <param name="Flavor">How numbers are drawn.</param>
/// <param name="Limit">What no row's certificate passes; scales are as large as that allows.</param>
/// <param name="LargestScale">The largest |scale|.</param>
/// <param name="Seed">Seed of the numbers.</param>
/// <param name="Sms">Multiprocessors that the call is planned for, so that small calls are cut up as large ones; 0 for as many as the device has.</param>
internal sealed record CheckCase(int M, MatMulShape Shape, ElementType Type, bool ZeroPoints, bool Bias, CheckFlavor Flavor, long Limit, int LargestScale, int Seed, int Sms = 0)
{
    private static readonly ElementType[] Types = [ElementType.Float16, ElementType.BFloat16, ElementType.Float];
    private static readonly int[] Blocks = [16, 32, 64, 128, 256];

    // Rows of B so long that every ring and buffer of the kernels is gone round several times, although K is split; few of them, for the scalar specification's sake.
    private const int Long = 4;
    private const int MostLongRows = 64;

    /// <summary>Every M up to 17, and the edges of tiles.</summary>
    private static readonly int[] Rows = [.. Enumerable.Range(1, 17), 31, 32, 33, 63, 64, 65, 127, 128, 129, 191, 193, 255, 257];

    /// <inheritdoc/>
    public override string ToString() =>
        $"M={M} K={Shape.K} N={Shape.N} bits={Shape.Bits} block={Shape.BlockSize} {Type}{(ZeroPoints ? " zero_points" : "")}{(Bias ? " bias" : "")} {Flavor} limit={Limit} scales={LargestScale} seed={Seed}{(Sms > 0 ? $" sms={Sms}" : "")}";

    /// <summary>Every M with every block size, each with several K, among them ones that end within a chunk of 128 or a block; all else in turn.</summary>
    public static IEnumerable<CheckCase> Edges(int seed)
    {
        var random = new Random(seed);
        foreach (var m in Rows)
        {
            foreach (var block in Blocks)
            {
                for (var kind = 0; kind < 4; kind++) yield return Draw(random, m, block, kind);
                if (m <= MostLongRows) yield return Draw(random, m, block, Long);
            }
        }
    }

    /// <summary>So many random cases.</summary>
    public static IEnumerable<CheckCase> Random(int seed, int count)
    {
        var random = new Random(unchecked(seed + 1));
        for (var i = 0; i < count; i++)
            yield return Draw(random, random.Next(4) == 0 ? random.Next(1, 600) : random.Next(1, 80), Blocks[random.Next(Blocks.Length)], random.Next(4));
    }

    /// <summary>So many cases whose codes can carry their scales: on few multiprocessors, several tiles a thread block, or K split.</summary>
    public static IEnumerable<CheckCase> Scaled(int seed, int count)
    {
        int[] blocks = [32, 64, 128, 256];
        int[] stages = [1, 2, 3, 4, 5, 6, 8, 9, 12, 16, 17, 24, 31, 32, 33];
        int[] channels = [1, 64, 100, 128, 130, 200, 256, 300];
        int[] missing = [0, 0, 0, 1, 28, 100];
        var random = new Random(unchecked(seed + 3));
        for (var i = 0; i < count; i++)
        {
            // K is worth being split where it is long: one tile in four on five multiprocessors, two tiles in two on four and in three on seven.
            var split = i / blocks.Length % 3 == 2;
            var (tiles, sms) = split ? new[] { (1, 5), (2, 4), (2, 7) }[random.Next(3)] : (0, random.Next(1, 4));
            var m = split ? random.Next(97, 129) : random.Next(2) == 0 ? random.Next(65, 700) : 128 * random.Next(1, 6);
            var k = (128 * (split ? random.Next(tiles == 1 ? 80 : 60, 100) : stages[random.Next(stages.Length)])) - missing[random.Next(missing.Length)];
            var n = split ? (128 * (tiles - 1)) + (random.Next(2) * 64) + random.Next(1, 65) : channels[random.Next(channels.Length)];
            var limit = random.Next(2) == 0 ? Certificate.Int32Limit : Certificate.DefaultLimit;
            yield return new(
                m, new(k, n, 4, blocks[i % blocks.Length]), Types[random.Next(Types.Length)], false, random.Next(3) == 0, (CheckFlavor)(random.Next(4) % 3), limit, Certificate.LargestInt8Scale, random.Next(), sms);
        }
    }

    /// <summary>Layers of language models, at the sizes that are timed.</summary>
    public static IEnumerable<CheckCase> Layers(int seed)
    {
        var random = new Random(unchecked(seed + 2));
        foreach (var (k, n) in new[] { (4096, 4096), (4096, 14336), (14336, 4096) })
        {
            foreach (var block in new[] { 32, 64, 128, 256 })
            {
                foreach (var m in new[] { 1, 8, 16, 64, 128, 256, 1024 })
                    yield return new(m, new(k, n, 4, block), ElementType.Float16, random.Next(3) == 0, random.Next(3) == 0, CheckFlavor.Plain, Certificate.DefaultLimit, LargestOf(random), random.Next());
            }
        }
    }

    /// <param name="random">Source of the rest.</param>
    /// <param name="m">M.</param>
    /// <param name="block">Block size.</param>
    /// <param name="kind">0, 1: sizes that fill tiles; 2: K in whole blocks, odd N; 3: any K and N; 4: long rows.</param>
    private static CheckCase Draw(Random random, int m, int block, int kind)
    {
        var chunk = Math.Max(128, block);
        var k = kind switch
        {
            0 or 1 => chunk * random.Next(1, kind == 0 ? 9 : 24),
            2 => block * random.Next(1, 2200 / block),
            Long => random.Next(2) == 0 ? 1024 * random.Next(17, 24) : random.Next(17000, 24000),
            _ => random.Next(2) == 0 ? random.Next(1, 300) : random.Next(1, 2500),
        };
        var n = kind == Long ? random.Next(1, 130) : kind < 2 ? 64 * random.Next(1, 9) : random.Next(3) == 0 ? (64 * random.Next(1, 4)) + random.Next(-1, 2) : random.Next(1, 330);
        return new(
            m,
            new(k, n, random.Next(8) == 0 ? 8 : 4, block),
            Types[random.Next(Types.Length)],
            random.Next(2) == 0,
            random.Next(2) == 0,
            (CheckFlavor)(random.Next(4) % 3),
            random.Next(3) switch { 0 => Certificate.Int32Limit, 1 => Certificate.DefaultLimit, _ => Certificate.DefaultLimit * random.Next(1, 16) },
            LargestOf(random),
            random.Next());
    }

    /// <summary>All of int16, or so small that codes can carry scales.</summary>
    private static int LargestOf(Random random) => random.Next(2) == 0 ? Certificate.LargestInt8Scale : short.MaxValue;
}
