namespace Onnx.IntScale;

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
