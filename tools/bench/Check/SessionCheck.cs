using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Onnx.IntScale.Bench;

/// <summary>
/// The operator inside ONNX Runtime on the CUDA execution provider: the CPU's bits, also from threads at once on all GPUs and from a CUDA
/// graph, and the CPU's words where a model is refused.
/// </summary>
internal static unsafe class SessionCheck
{
    private const int GraphRuns = 4;

    /// <summary>All checks by name, each with what was wrong, or null.</summary>
    /// <param name="seed">Seed of the weights and activations.</param>
    public static IEnumerable<(string Name, string? Fault)> Run(int seed)
    {
        foreach (var c in Cases(seed))
        {
            yield return ($"session: {c}", SameBits(c));
            yield return ($"threads: {c}", SameBitsFromThreads(c));
            yield return ($"graph: {c}", SameBitsFromGraph(c));
        }

        var refused = Cases(seed).First();
        yield return ("refusal: the certificate is too small", SameRefusal(refused, data => CheckModel.Of(data, data.MaxAccumulator - 1)));
        yield return ("refusal: the certificate does not fit int32", SameRefusal(refused, data => CheckModel.Of(data, 1L << 31)));
        yield return ("refusal: a channel scale is not finite", SameRefusal(refused, NotFinite));
        yield return ("refusal: the weights can overflow", SameRefusal(refused with { Limit = long.MaxValue, Shape = refused.Shape with { K = 8192 } }, data => CheckModel.Of(data, null)));
    }

    /// <summary>Session options with the CUDA execution provider and the operator.</summary>
    /// <param name="graph">Whether runs are replayed from a CUDA graph.</param>
    /// <param name="device">Number of the GPU.</param>
    /// <exception cref="BenchException">ONNX Runtime's CUDA provider cannot be loaded.</exception>
    public static SessionOptions Cuda(bool graph, int device = 0)
    {
        var options = Cpu();
        try
        {
            CudaProvider.Append(options, device, graph);
            // A node that went to the CPU would pass every check.
            options.AddSessionConfigEntry("session.disable_cpu_ep_fallback", "1");
            return options;
        }
        catch
        {
            options.Dispose();
            throw;
        }
    }

    private static SessionOptions Cpu()
    {
        var options = new SessionOptions { LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL };
        IntScaleOps.Register(options);
        return options;
    }

    /// <summary>With 1024 rows of tiles of 256 tokens, on 132 multiprocessors, whose codes carry their scales.</summary>
    private static IEnumerable<CheckCase> Cases(int seed)
    {
        foreach (var type in new[] { ElementType.Float16, ElementType.Float, ElementType.BFloat16 })
        {
            foreach (var (m, shape, optional) in new[] { (17, new MatMulShape(512, 192, 4, 128), false), (1024, new MatMulShape(256, 4224, 4, 64), false), (33, new MatMulShape(300, 77, 4, 32), true), (1, new MatMulShape(1024, 256, 4, 64), true), (130, new MatMulShape(256, 130, 8, 16), true) })
                yield return new(m, shape, type, optional, optional, CheckFlavor.Plain, Certificate.DefaultLimit, m == 1024 ? Certificate.LargestInt8Scale : short.MaxValue, unchecked(seed + m));
        }
    }

    private static byte[] NotFinite(CheckData data)
    {
        ((float*)data.ChannelScales.Data)[5] = float.NaN;
        return CheckModel.Of(data, null);
    }

    private static string? SameBits(CheckCase c)
    {
        using var data = new CheckData(c);
        var model = CheckModel.Of(data, data.MaxAccumulator);
        using var cpuOptions = Cpu();
        using var cudaOptions = Cuda(graph: false);
        using var cpu = new InferenceSession(model, cpuOptions);
        using var cuda = new InferenceSession(model, cudaOptions);
        foreach (var rows in new[] { c.M, 0, 1, c.M })
        {
            var a = data.Activations(rows);
            var fault = Specification.Difference(c, Run(cpu, c, a, rows), Run(cuda, c, a, rows));
            if (fault != null) return $"M={rows}: {fault}";
        }

        return null;
    }

    /// <summary>Two threads on each of two sessions or more, on every GPU one at least.</summary>
    private static string? SameBitsFromThreads(CheckCase c)
    {
        const int Sets = 4, Runs = 25;
        using var data = new CheckData(c);
        var model = CheckModel.Of(data, data.MaxAccumulator);
        var devices = CudaDriver.DeviceCount;
        var sessions = new List<InferenceSession>();
        try
        {
            for (var i = 0; i < Math.Max(2, devices); i++)
            {
                using var options = Cuda(graph: false, i % devices);
                sessions.Add(new InferenceSession(model, options));
            }

            var a = Enumerable.Range(0, Sets).Select(data.Activations).ToArray();
            var expected = Array.ConvertAll(a, x => Specification.Compute(data, x));
            var threads = 2 * sessions.Count;
            string? fault = null;
            Parallel.For(0, threads, new ParallelOptions { MaxDegreeOfParallelism = threads }, t =>
            {
                for (var i = 0; i < Runs; i++)
                {
                    var set = (t + i) % Sets;
                    var wrong = Specification.Difference(c, expected[set], Run(sessions[t % sessions.Count], c, a[set], c.M));
                    if (wrong != null) fault = $"GPU {t % sessions.Count % devices}: {wrong}";
                }
            });
            return fault;
        }
        finally
        {
            sessions.ForEach(s => s.Dispose());
        }
    }

    /// <summary>Runs after the first ones replay a graph, on the same device memory with other contents.</summary>
    private static string? SameBitsFromGraph(CheckCase c)
    {
        using var data = new CheckData(c);
        using var options = Cuda(graph: true);
        using var session = new InferenceSession(CheckModel.Of(data, data.MaxAccumulator), options);
        using var use = CudaContext.OfDevice(0).Use();
        using var device = new OrtMemoryInfo(OrtMemoryInfo.allocatorCUDA, OrtAllocatorType.DeviceAllocator, 0, OrtMemType.Default);
        using var a = new DeviceArray((long)c.M * c.Shape.K * Elements.SizeOf(c.Type));
        using var y = new DeviceArray((long)c.M * c.Shape.N * Elements.SizeOf(c.Type));
        using var input = OrtValue.CreateTensorValueWithData(device, (TensorElementType)c.Type, [c.M, c.Shape.K], a.Address, a.Bytes);
        using var output = OrtValue.CreateTensorValueWithData(device, (TensorElementType)c.Type, [c.M, c.Shape.N], y.Address, y.Bytes);
        using var binding = session.CreateIoBinding();
        binding.BindInput(CheckModel.A, input);
        binding.BindOutput(CheckModel.Y, output);
        using var run = new RunOptions();
        for (var i = 0; i < GraphRuns; i++)
        {
            var host = data.Activations(i);
            CudaDriver.CopyToDevice(a.Address, host.Data, host.Length);
            session.RunWithBinding(run, binding);
            binding.SynchronizeBoundOutputs();
            var fault = Specification.Difference(c, Specification.Compute(data, host), y.ToHost());
            if (fault != null) return $"run {i}: {fault}";
        }

        return null;
    }

    private static string? SameRefusal(CheckCase c, Func<CheckData, byte[]> model)
    {
        using var data = new CheckData(c);
        var bytes = model(data);
        var (cpu, cuda) = (Refusal(bytes, Cpu), Refusal(bytes, () => Cuda(graph: false)));
        return cpu == cuda && cpu != null ? null : $"'{cuda}' instead of '{cpu}'";
    }

    private static string? Refusal(byte[] model, Func<SessionOptions> make)
    {
        using var options = make();
        try
        {
            new InferenceSession(model, options).Dispose();
            return null;
        }
        catch (OnnxRuntimeException e)
        {
            return e.Message;
        }
    }

    private static byte[] Run(InferenceSession session, CheckCase c, TensorBuffer a, int m)
    {
        using var input = OrtValue.CreateTensorValueWithData(OrtMemoryInfo.DefaultInstance, (TensorElementType)c.Type, [m, c.Shape.K], (nint)a.Data, (long)m * c.Shape.K * Elements.SizeOf(c.Type));
        using var run = new RunOptions();
        using var outputs = session.Run(run, [CheckModel.A], [input], [CheckModel.Y]);
        return outputs[0].GetTensorMutableRawData().ToArray();
    }
}
