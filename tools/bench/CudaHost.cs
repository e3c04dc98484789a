using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Onnx.IntScale.Bench;

/// <summary>
/// Sessions on the CUDA execution provider, and tensors on its device. Everything else is left at ONNX Runtime's defaults, but memory:
/// weights in plain allocations, arenas that grow by what is asked for. Without CUDA, for tests, the same on the CPU.
/// </summary>
internal sealed class CudaHost : IDisposable
{
    private readonly string? _library;
    private readonly InferenceSession _copy;
    private readonly OrtAllocator? _allocator;

    /// <summary>Opens the device.</summary>
    /// <param name="cuda">Whether there is to be a GPU.</param>
    /// <param name="graphs">Whether sessions record their second run as a CUDA graph and replay it in later ones.</param>
    /// <param name="library">The file that brings our operator, or null for this program's own.</param>
    /// <exception cref="BenchException">There is no CUDA execution provider, or no such library.</exception>
    public CudaHost(bool cuda, bool graphs, string? library = null)
    {
        (Cuda, Graphs, _library) = (cuda, cuda && graphs, library);
        using var options = Options(new Dictionary<string, string>(), graphs: false);
        _copy = new InferenceSession(NodesModel.Copy().ToByteArray(), options);
        if (!cuda) return;
        using var device = new OrtMemoryInfo(OrtMemoryInfo.allocatorCUDA, OrtAllocatorType.DeviceAllocator, 0, OrtMemType.Default);
        _allocator = new OrtAllocator(_copy, device);
    }

    /// <summary>Whether there is a GPU.</summary>
    public bool Cuda { get; }

    /// <summary>Whether runs are replayed from CUDA graphs.</summary>
    public bool Graphs { get; }

    /// <summary>A session of a model file with our operator registered.</summary>
    /// <param name="path">The .onnx file.</param>
    /// <param name="config">Session configuration entries.</param>
    /// <param name="allOnDevice">Whether a node that the GPU does not take is an error.</param>
    public InferenceSession Open(string path, IReadOnlyDictionary<string, string> config, bool allOnDevice)
    {
        using var options = Options(config, Graphs);
        if (allOnDevice && Cuda) options.AddSessionConfigEntry("session.disable_cpu_ep_fallback", "1");
        return new InferenceSession(path, options);
    }

    /// <summary>A tensor on the device.</summary>
    public OrtValue Tensor(TensorElementType type, params long[] dims) => OrtValue.CreateAllocatedTensorValue(_allocator ?? OrtAllocator.DefaultInstance, type, dims);

    /// <summary>Copies a float16 matrix from one place to another.</summary>
    public void Copy(OrtValue from, OrtValue to)
    {
        using var binding = _copy.CreateIoBinding();
        using var run = new RunOptions();
        binding.BindInput(NodesModel.A(0), from);
        binding.BindOutput(NodesModel.Y(0), to);
        binding.SynchronizeBoundInputs();
        _copy.RunWithBinding(run, binding);
        binding.SynchronizeBoundOutputs();
    }

    /// <summary>A float16 matrix of the device, in memory of this process.</summary>
    public Half[] ToHost(OrtValue tensor)
    {
        var shape = tensor.GetTensorTypeAndShape().Shape;
        using var host = OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, TensorElementType.Float16, shape);
        Copy(tensor, host);
        return System.Runtime.InteropServices.MemoryMarshal.Cast<byte, Half>(host.GetTensorMutableRawData()).ToArray();
    }

    /// <summary>Makes every element of a float16 matrix of the device NaN.</summary>
    public void Poison(OrtValue tensor)
    {
        var shape = tensor.GetTensorTypeAndShape().Shape;
        using var host = OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, TensorElementType.Float16, shape);
        host.GetTensorMutableRawData().Fill(0xFF);
        Copy(host, tensor);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _allocator?.Dispose();
        _copy.Dispose();
    }

    private void Register(SessionOptions options)
    {
        if (_library == null)
        {
            IntScaleOps.Register(options);
            return;
        }

        if (!File.Exists(_library)) throw new BenchException($"--library: there is no file '{_library}'; tools/Onnx.IntScale.Native says how to build the library");
        try
        {
            options.RegisterCustomOpLibrary(Path.GetFullPath(_library));
        }
        catch (OnnxRuntimeException e)
        {
            throw new BenchException($"--library: ONNX Runtime cannot use {_library}; is it a libonnx_intscale for this machine (tools/Onnx.IntScale.Native)? {e.Message}");
        }
    }

    private SessionOptions Options(IReadOnlyDictionary<string, string> config, bool graphs)
    {
        var options = new SessionOptions { LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
        try
        {
            options.AddSessionConfigEntry("session.use_device_allocator_for_initializers", "1");
            foreach (var (key, value) in config) options.AddSessionConfigEntry(key, value);
            Register(options);
            if (!Cuda) return options;
            // The GPU computes; threads that spin beside the one that launches would only disturb it.
            options.IntraOpNumThreads = 1;
            CudaProvider.Append(options, device: 0, graphs, arenas: "kSameAsRequested");
            return options;
        }
        catch
        {
            options.Dispose();
            throw;
        }
    }
}
