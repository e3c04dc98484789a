using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Onnx.IntScale.Bench;

/// <summary>
/// An ONNX Runtime environment whose sessions share one intra-op pool and one CPU arena, as the nodes of one model do.
/// With a pool each, the threads of the session that ran last would go on spinning (ONNX Runtime's default) on the cores of the next;
/// with an arena each, every session would have scratch memory of its own, cold in the cache. Dispose its sessions first;
/// there is one host at a time.
/// </summary>
internal sealed class OrtHost : IDisposable
{
    private readonly OrtEnv _env;
    private readonly RunOptions _run = new();

    /// <summary>Makes the environment.</summary>
    /// <param name="threads">Threads of the pool, the caller included.</param>
    public OrtHost(int threads)
    {
        using var threading = new OrtThreadingOptions { GlobalIntraOpNumThreads = threads, GlobalInterOpNumThreads = 1 };
        var options = new EnvironmentCreationOptions { logId = "bench", logLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR, threadOptions = threading };
        _env = OrtEnv.CreateInstanceWithOptions(ref options);
        using var arena = new OrtArenaCfg(0, -1, -1, -1);
        _env.CreateAndRegisterAllocator(OrtMemoryInfo.DefaultInstance, arena);
    }

    /// <summary>A session with our operator registered; everything else is left at ONNX Runtime's defaults.</summary>
    public static InferenceSession Open(byte[] model)
    {
        using var options = new SessionOptions { LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
        options.DisablePerSessionThreads();
        options.AddSessionConfigEntry("session.use_env_allocators", "1");
        // Weights in plain memory, which goes back when the session does; the arena would keep it.
        options.AddSessionConfigEntry("session.use_device_allocator_for_initializers", "1");
        IntScaleOps.Register(options);
        return new InferenceSession(model, options);
    }

    /// <summary>A float tensor in memory of ONNX Runtime's alignment.</summary>
    public static OrtValue Tensor(int rows, int columns) =>
        OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, TensorElementType.Float, [rows, columns]);

    /// <summary>Binds a session's input and output.</summary>
    public static OrtIoBinding Bind(InferenceSession session, OrtValue a, OrtValue y)
    {
        var binding = session.CreateIoBinding();
        binding.BindInput(BenchModels.A, a);
        binding.BindOutput(BenchModels.Y, y);
        return binding;
    }

    /// <summary>One Run.</summary>
    public void Run(InferenceSession session, OrtIoBinding binding) => session.RunWithBinding(_run, binding);

    /// <summary>Median time in microseconds of a Run that computes nothing.</summary>
    public double OverheadUs()
    {
        using var session = Open(BenchModels.Identity());
        using var a = Tensor(1, 1);
        using var y = Tensor(1, 1);
        using var binding = Bind(session, a, y);
        var times = PairedTimer.Measure([() => Run(session, binding)], TimeSpan.FromSeconds(0.2));
        return PairedTimer.Median(times[0]) * 1e6;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _run.Dispose();
        _env.Dispose();
    }
}
