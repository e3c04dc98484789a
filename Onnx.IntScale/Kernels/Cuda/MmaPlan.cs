namespace Onnx.IntScale;

/// <summary>Launches of mma.cu, for GPUs before and after compute capability 9.0: tiles as its sources have them.</summary>
internal static class MmaPlan
{
    /// <summary>The plan of a call with M rows.</summary>
    public static CudaPlan Of(MatMulShape shape, int m, ElementType type, CudaFold fold, in CudaDevice device)
    {
        var tokens = TokensOf(shape, m, device);
        var (channels, threads, shared) = tokens switch
        {
            8 => (32, 256, 73728),
            16 => (32, 128, 65536),
            32 => (64, 256, 98304),
            64 => (64, 256, 73728),
            _ => (128, 256, 98304),
        };
        var rows = (int)((((uint)m + tokens - 1) / tokens) * tokens);
        var tiles = checked(rows / tokens * ((shape.N + channels - 1) / channels));
        var matMul = new CudaLaunch(CudaKernels.Mma(shape.BlockSize, tokens, fold), tiles, 1, 1, threads, 1, shared, false);
        return CudaPlanner.WithScratch(CudaPlanner.Quantize(shape, m, type, shape.BlockSize), matMul, shape, rows);
    }

    /// <summary>Large tiles read memory less often, and small ones keep all multiprocessors busy.</summary>
    private static int TokensOf(MatMulShape shape, int m, in CudaDevice device) => m switch
    {
        <= 8 => 8,
        <= 16 => 16,
        <= 32 => 32,
        <= 64 => 64,
        _ => (long)((shape.N + 127) / 128) * ((m + 127L) / 128) < 2 * device.SmCount ? 64 : 128,
    };
}
