namespace Onnx.IntScale;

/// <summary>
/// Chooses kernels and tiles: a pure function of sizes and device, without allocations. What it knows of the kernels (tiles, shared memory)
/// is what their sources say; benchmarks/cuda.md has the measurements behind the choices.
/// </summary>
internal static class CudaPlanner
{
    private const int Stage = 128;              // k of a stage of the tensor-core kernels
    private const int QuantizeThreads = 512;    // at most; a thread keeps 32 elements in registers
    private const int PlainChannels = 8;        // of a thread block of the plain kernel
    private const int PlainTokens = 8;
    private const int MostGridYz = 65535;

    /// <summary>The plan of a call with M rows, M above 0.</summary>
    public static CudaPlan Plan(MatMulShape shape, int m, ElementType type, in WeightFacts weights, in CudaDevice device) =>
        Family(shape, m, device) switch
        {
            "gemv" => GemvPlan.Of(shape, type, device),
            "wgmma" => WgmmaPlan.Of(shape, m, type, weights, device),
            "mma" => MmaPlan.Of(shape, m, type, weights.Fold, device),
            _ => Plain(shape, m, type),
        };

    /// <summary>The plan of a call whose weights lie at addresses that other kernels' loads of 16 bytes do not take.</summary>
    public static CudaPlan Plain(MatMulShape shape, int m, ElementType type)
    {
        var matMul = new CudaLaunch(CudaKernels.Plain(type), (shape.N + PlainChannels - 1) / PlainChannels, Math.Min((m + PlainTokens - 1) / PlainTokens, MostGridYz), 1, 256, 1, 0, true);
        return WithScratch(Quantize(shape, m, type, 0), matMul, shape, m);
    }

    /// <summary>The plan of the float twin where there is one (<see cref="HasTwin"/>): no zero points, scales in float16; tiles are those of weights whose groups are folded.</summary>
    public static CudaPlan Twin(MatMulShape shape, int m, ElementType type, in CudaDevice device) =>
        WgmmaPlan.Of(shape, m, type, WgmmaPlan.TilingOf(shape, m, CudaFold.Float, device), device);

    /// <summary>Whether there is a twin of what <see cref="Plan"/> gives where groups are folded.</summary>
    public static bool HasTwin(MatMulShape shape, int m, in CudaDevice device) =>
        m > 1 && Family(shape, m, device) == "wgmma" && WgmmaPlan.TilingOf(shape, m, CudaFold.Float, device) is var twin && CudaKernels.Wgmma(shape.BlockSize, twin.Channels, twin.Tokens, CudaFold.Float, CudaCut.Tiles) >= 0;

    /// <summary>The modules that plans of a node may use, whatever M.</summary>
    public static IReadOnlyList<string> Modules(MatMulShape shape, in CudaDevice device)
    {
        var copy = device;
        int[] rows = [1, 2];
        return [.. rows.Select(m => CudaKernels.Module(Family(shape, m, copy), shape.BlockSize)).Append("quantize").Append("plain").Distinct()];
    }

    /// <summary>The launch that computes the overflow certificate and the largest scale.</summary>
    public static CudaLaunch Certificate(MatMulShape shape) => new(CudaKernels.Certificate, Math.Min((shape.N + 7) / 8, 1024), 1, 1, 256, 1, 0, false);

    /// <summary>Quantizes rows of A into the order that a matmul kernel of this block size wants; 0 for the order of k.</summary>
    internal static CudaLaunch Quantize(MatMulShape shape, int m, ElementType type, int block)
    {
        var threads = Math.Min(QuantizeThreads, ((Stages(shape.K) * 4) + 31) & -32);
        return new(CudaKernels.Quantize(block, type), m, 1, 1, threads, 1, 0, true);
    }

    /// <summary>Stages of a row, the last one padded.</summary>
    internal static int Stages(int k) => (int)(((uint)k + Stage - 1) / Stage);

    /// <summary>A plan whose scratch holds whole tiles of tokens.</summary>
    internal static CudaPlan WithScratch(CudaLaunch quantize, CudaLaunch matMul, MatMulShape shape, int rows) =>
        new(quantize, matMul, rows, ((long)Stages(shape.K) * Stage * rows + 1023) & -1024, rows);

    private static string Family(MatMulShape shape, int m, in CudaDevice device)
    {
        if (shape.Bits != 4 || shape.BlockSize < 32) return "plain";
        var gemv = m == 1 && GemvPlan.SharedBytes(shape) <= device.SharedBytesPerBlock - 1024;
        var hopper = device is { Major: 9, Minor: 0 };
        return CudaKernels.Forced switch
        {
            "plain" => "plain",
            "gemv" => gemv ? "gemv" : "plain",
            "mma" => "mma",
            "wgmma" => hopper ? "wgmma" : "plain",
            _ => gemv ? "gemv" : hopper ? "wgmma" : "mma",
        };
    }
}
