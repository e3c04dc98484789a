using System.Runtime.CompilerServices;

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
    public static void Launch(CudaContext context, in CudaPlan plan, in CudaParams parameters, nint stream)
    {
        if (plan.Quantize.Threads > 0) Launch(context, plan.Quantize, parameters, stream);
        Launch(context, plan.MatMul, parameters, stream);
    }

    /// <summary>Launches one kernel on a stream.</summary>
    [SkipLocalsInit]
    public static void Launch(CudaContext context, in CudaLaunch launch, in CudaParams parameters, nint stream)
    {
        var map = default(CudaTensorMap.Storage);
        var codes = CudaKernels.All[launch.Kernel].Module == "wgmma" ? CudaTensorMap.Of(parameters, ref map) : null;
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
