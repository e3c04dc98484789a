namespace Onnx.IntScale;

/// <summary>One kernel function.</summary>
/// <param name="Id">Its index in <see cref="CudaKernels.All"/>.</param>
/// <param name="Module">The compiled source file it is in.</param>
/// <param name="Name">Its symbol.</param>
internal sealed record CudaKernel(int Id, string Module, string Name);

/// <summary>One launch; Threads = 0: nothing to launch.</summary>
/// <param name="Kernel"><see cref="CudaKernel.Id"/>.</param>
/// <param name="GridX">Blocks.</param>
/// <param name="GridY">Blocks.</param>
/// <param name="GridZ">Blocks.</param>
/// <param name="Threads">Threads of a block.</param>
/// <param name="Cluster">Blocks of a cluster, along x.</param>
/// <param name="SharedBytes">Dynamic shared memory of a block.</param>
/// <param name="Pdl">The kernel may start before the one before it in the stream has ended, and waits for it itself.</param>
internal readonly record struct CudaLaunch(int Kernel, int GridX, int GridY, int GridZ, int Threads, int Cluster, int SharedBytes, bool Pdl);

/// <summary>How a call is computed: two launches at most, and the scratch memory they share.</summary>
/// <param name="Quantize">Activations to int8, where the matmul kernel does not do it itself.</param>
/// <param name="MatMul">The product.</param>
/// <param name="A8Rows">Rows that A8 has room for.</param>
/// <param name="A8Bytes">Bytes of A8, a multiple of 1024; 0 where there is no scratch.</param>
/// <param name="ScaleRows">Rows that a_scales has room for; it lies after A8.</param>
internal readonly record struct CudaPlan(CudaLaunch Quantize, CudaLaunch MatMul, int A8Rows, long A8Bytes, int ScaleRows);

/// <summary>What a plan depends on of a device.</summary>
/// <param name="Major">Compute capability.</param>
/// <param name="Minor">Compute capability.</param>
/// <param name="SmCount">Multiprocessors.</param>
/// <param name="SharedBytesPerBlock">The most shared memory that a block can have.</param>
internal readonly record struct CudaDevice(int Major, int Minor, int SmCount, int SharedBytesPerBlock);

/// <summary>The kernels.</summary>
internal static class CudaKernels
{
    /// <summary>Environment variable that forces one family of matmul kernels.</summary>
    public const string Variable = "INTSCALE_CUDA_KERNEL";

    /// <summary>Every kernel.</summary>
    public static readonly IReadOnlyList<CudaKernel> All = [new(0, "quantize", "quantize_rows"), new(1, "plain", "plain"), new(2, "certificate", "certificate")];
}

/// <summary>Chooses kernels: a pure function of sizes and device.</summary>
internal static class CudaPlanner
{
    /// <summary>The plan of a call with M rows, M above 0.</summary>
    public static CudaPlan Plan(MatMulShape shape, int m, ElementType type, bool hasZeroPoints, long maxAccumulator, in CudaDevice device)
    {
        var quantize = new CudaLaunch(0, m, 1, 1, 256, 1, 0, false);
        var matMul = new CudaLaunch(1, m, (shape.N + 63) / 64, 1, 64, 1, 0, true);
        var stride = (shape.K + 127) / 128 * 128L;
        return new(quantize, matMul, m, ((m * stride) + 1023) / 1024 * 1024, m);
    }

    /// <summary>The modules that plans of a node may use, whatever M.</summary>
    public static IReadOnlyList<string> Modules(MatMulShape shape, ElementType type, bool hasZeroPoints, long maxAccumulator, in CudaDevice device) => ["quantize", "plain"];

    /// <summary>The launch that computes the overflow certificate.</summary>
    public static CudaLaunch Certificate(MatMulShape shape) => new(2, shape.N, 1, 1, 128, 1, 0, false);
}
