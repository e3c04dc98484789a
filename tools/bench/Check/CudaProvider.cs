using Microsoft.ML.OnnxRuntime;

namespace Onnx.IntScale.Bench;

/// <summary>ONNX Runtime's CUDA execution provider, as checks and benchmarks use it.</summary>
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
    /// <param name="arenas">How arenas grow: ONNX Runtime's default, or kSameAsRequested.</param>
    /// <exception cref="BenchException">It cannot be loaded.</exception>
    public static void Append(SessionOptions options, int device, bool graph, string arenas = "kNextPowerOfTwo")
    {
        try
        {
            using var provider = new OrtCUDAProviderOptions();
            provider.UpdateOptions(new() { ["device_id"] = $"{device}", ["enable_cuda_graph"] = graph ? "1" : "0", ["arena_extend_strategy"] = arenas });
            options.AppendExecutionProvider_CUDA(provider);
        }
        catch (Exception e) when (e is OnnxRuntimeException or EntryPointNotFoundException)
        {
            throw new BenchException($"ONNX Runtime's CUDA execution provider cannot be used (tools/cuda/README.md says what it needs): {e.Message}");
        }
    }
}
