namespace Onnx.IntScale;

/// <summary>Launches of gemv.cu: one row of A, a warp a channel at a time.</summary>
internal static class GemvPlan
{
    private const int Threads = 512;
    private const int Warps = Threads / 32;
    private const int Chunk = 32;         // weights of a 16-byte load
    private const int ChunkBytes = 36;    // shared memory of a chunk's activations and their sum
    private const int ShortRow = 8192;

    /// <summary>Dynamic shared memory of a thread block.</summary>
    public static int SharedBytes(MatMulShape shape) => (int)Math.Min(int.MaxValue, (long)shape.PaddedK / Chunk * ChunkBytes);

    /// <summary>The plan of a call with one row.</summary>
    public static CudaPlan Of(MatMulShape shape, ElementType type, in CudaDevice device)
    {
        // Every thread block quantizes A: with few, short rows of B one a multiprocessor is better, else two, which have more loads under way.
        var few = shape.PaddedK <= ShortRow && shape.N <= 2 * Warps * device.SmCount;
        var blocks = Math.Min((shape.N + Warps - 1) / Warps, (few ? 1 : 2) * device.SmCount);
        return new(default, new(CudaKernels.Gemv(type), blocks, 1, 1, Threads, 1, SharedBytes(shape), true), 0, 0, 0);
    }
}
