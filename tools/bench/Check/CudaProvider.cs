using Microsoft.ML.OnnxRuntime;

namespace Onnx.IntScale.Bench;

/// <summary>ONNX Runtime's CUDA execution provider, as checks use it.</summary>
internal static class CudaProvider
{
    /// <summary>What ONNX Runtime calls it.</summary>
    public const string Name = "CUDAExecutionProvider";

    /// <summary>What ONNX Runtime calls the one of the CPU.</summary>
    public const string Cpu = "CPUExecutionProvider";

    /// <summary>Adds it to a session's options.</summary>
    /// <param name="options">The options.</param>
    /// <param name="device">Number of the GPU.</param>
    /// <param name="graph">Whether runs are replayed from a CUDA graph.</param>
    /// <exception cref="BenchException">It cannot be loaded.</exception>
    public static void Append(SessionOptions options, int device, bool graph)
    {
        try
        {
            using var provider = new OrtCUDAProviderOptions();
            provider.UpdateOptions(new() { ["device_id"] = $"{device}", ["enable_cuda_graph"] = graph ? "1" : "0" });
            options.AppendExecutionProvider_CUDA(provider);
        }
        catch (Exception e) when (e is OnnxRuntimeException or EntryPointNotFoundException)
        {
            throw new BenchException($"ONNX Runtime's CUDA execution provider cannot be used (tools/cuda/README.md says what it needs): {e.Message}");
        }
    }
}
