using Onnx.IntScale.Bench;

namespace Onnx.IntScale.Tests;

/// <summary>A test of the CUDA kernels; reported as skipped, with the reason, where there is no NVIDIA GPU.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class GpuFactAttribute : FactAttribute
{
    public GpuFactAttribute() => Skip = CudaDriver.Missing;
}

/// <summary>As <see cref="GpuFactAttribute"/>, for tests that also take ONNX Runtime's CUDA execution provider.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class CudaSessionFactAttribute : FactAttribute
{
    private static readonly Lazy<string?> Missing = new(() =>
    {
        if (CudaDriver.Missing is { } reason) return reason;
        try
        {
            SessionCheck.Cuda(graph: false).Dispose();
            return null;
        }
        catch (BenchException e)
        {
            return e.Message;
        }
    });

    public CudaSessionFactAttribute() => Skip = Missing.Value;
}
