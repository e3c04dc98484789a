namespace Onnx.IntScale;

/// <summary>Launches the kernels of a call. Nothing is allocated, loaded or waited for, so that a call can be captured as a CUDA graph.</summary>
internal static unsafe class CudaMatMul
{
    private const int Alignment = 1024;

    /// <summary>Bytes of scratch that a call needs, wherever they begin; 0 for none.</summary>
    public static long ScratchBytes(in CudaPlan plan) => plan.A8Bytes == 0 ? 0 : Alignment + plan.A8Bytes + ((long)plan.ScaleRows * sizeof(float));

    /// <summary>Lays A8 and the row scales out in memory of <see cref="ScratchBytes"/> bytes.</summary>
    public static void UseScratch(ref CudaParams parameters, in CudaPlan plan, void* scratch)
    {
        parameters.A8Rows = plan.A8Rows;
        if (plan.A8Bytes == 0) return;
        parameters.A8 = (void*)(((nint)scratch + Alignment - 1) & -Alignment);
        parameters.AScales = (byte*)parameters.A8 + plan.A8Bytes;
    }

    /// <summary>Launches a call on a stream. The context must be current, and the modules of the plan's kernels loaded.</summary>
    /// <param name="context">Whose kernels.</param>
    /// <param name="plan">What to launch.</param>
    /// <param name="parameters">With scratch.</param>
    /// <param name="stream">CUstream.</param>
    /// <param name="codes">The <see cref="CudaTensorMap"/> of parameters.B, or null: then it is made here where it is needed.</param>
    public static void Launch(CudaContext context, in CudaPlan plan, in CudaParams parameters, nint stream, void* codes = null)
    {
        if (plan.Quantize.Threads > 0) LaunchOne(context, plan.Quantize, parameters, stream, null);
        if (codes != null || !CudaKernels.TakesTensorMap(plan.MatMul.Kernel))
        {
            LaunchOne(context, plan.MatMul, parameters, stream, codes);
            return;
        }

        var room = stackalloc byte[CudaTensorMap.Bytes + CudaTensorMap.Alignment];
        var map = (void*)(((nint)room + CudaTensorMap.Alignment - 1) & -CudaTensorMap.Alignment);
        CudaTensorMap.Describe(map, parameters);
        LaunchOne(context, plan.MatMul, parameters, stream, map);
    }

    /// <summary>Launches one kernel that takes no tensor map.</summary>
    public static void Launch(CudaContext context, in CudaLaunch launch, in CudaParams parameters, nint stream) => LaunchOne(context, launch, parameters, stream, null);

    private static void LaunchOne(CudaContext context, in CudaLaunch launch, in CudaParams parameters, nint stream, void* codes)
    {
        const int MostAttributes = 2;
        var attributes = stackalloc CudaLaunchAttribute[MostAttributes];
        var config = new CudaLaunchConfig
        {
            GridX = (uint)launch.GridX,
            GridY = (uint)launch.GridY,
            GridZ = (uint)launch.GridZ,
            BlockX = (uint)launch.Threads,
            BlockY = 1,
            BlockZ = 1,
            SharedBytes = (uint)launch.SharedBytes,
            Stream = stream,
            Attributes = attributes,
        };
        if (launch.Cluster > 1) attributes[config.AttributeCount++] = CudaLaunchAttribute.Cluster(launch.Cluster);
        // Machine code for 9.0 waits for the kernel before, the PTX for other devices does not.
        if (launch.Pdl && context.Device is { Major: 9, Minor: 0 }) attributes[config.AttributeCount++] = CudaLaunchAttribute.StartEarly();
        fixed (CudaParams* parameter = &parameters) CudaDriver.Launch(&config, context.Function(launch.Kernel), parameter, codes);
    }
}
