using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;

namespace Onnx.IntScale;

/// <summary>
/// The operator for .NET programs, through the Microsoft.ML.OnnxRuntime package. This is the only file that needs that package;
/// programs in other languages load the same operator from the native library (tools/Onnx.IntScale.Native).
/// </summary>
public static unsafe class IntScaleOps
{
    private static readonly ConditionalWeakTable<SessionOptions, object> Registered = [];
    private static readonly Lazy<OrtApi> Api = new(() => OrtApi.From(FindApiBase()));
    private static bool _domainIsKnown;

    /// <summary>
    /// Makes sessions created with these options understand <c>com.intscale::MatMulNBitsIntScale</c>. Registering the same options
    /// again does nothing; don't also load the native library into them. The first call opens a session of a tiny model, and with it
    /// ONNX Runtime's environment (<see cref="OrtEnv"/>): a program that sets that up with options of its own does so before.
    /// </summary>
    /// <param name="options">Options of sessions to come.</param>
    /// <returns>The options.</returns>
    /// <exception cref="OrtException">The ONNX Runtime in use is older than 1.29, or cannot be found.</exception>
    public static SessionOptions Register(SessionOptions options) => Register(options, cuda: true);

    /// <summary>The same. Without its CUDA variant the operator runs on the CPU even beside others that run on CUDA: that is how checks tell what it changes there.</summary>
    internal static SessionOptions Register(SessionOptions options, bool cuda)
    {
        ArgumentNullException.ThrowIfNull(options);
        lock (Registered)
        {
            if (Registered.TryGetValue(options, out _)) return options;
            MakeDomainKnown();
            AddTo(options, cuda);
            Registered.Add(options, Registered);
        }

        return options;
    }

    /// <summary>
    /// Opens a session that knows the operator's domain, once in a process. The first such session enters the domain into a table of
    /// ONNX Runtime, which looks and enters in two steps: of several first sessions at once, from threads, all but one could fail.
    /// </summary>
    private static void MakeDomainKnown()
    {
        if (_domainIsKnown) return;
        using var options = new SessionOptions { IntraOpNumThreads = 1 };
        AddTo(options, cuda: false);
        using var session = new InferenceSession(TinyModel().ToByteArray(), options);
        _domainIsKnown = true;
    }

    private static void AddTo(SessionOptions options, bool cuda)
    {
        var held = false;
        try
        {
            options.DangerousAddRef(ref held);
            OpRegistration.Register(Api.Value, (void*)options.DangerousGetHandle(), cuda);
        }
        finally
        {
            if (held) options.DangerousRelease();
        }
    }

    /// <summary>A float, copied.</summary>
    private static ModelProto TinyModel()
    {
        static ValueInfoProto Value(string name) => new()
        {
            Name = name,
            Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)TensorProto.Types.DataType.Float, Shape = new TensorShapeProto() } },
        };
        return new()
        {
            IrVersion = 8,
            OpsetImport = { new OperatorSetIdProto { Version = 17 } },
            Graph = new GraphProto { Name = "tiny", Node = { new NodeProto { OpType = "Identity", Input = { "x" }, Output = { "y" } } }, Input = { Value("x") }, Output = { Value("y") } },
        };
    }

    /// <summary>
    /// OrtGetApiBase of the library that the binding runs on: found as the binding finds it, or else among the modules that it has
    /// already loaded. The binding's own table is private and that of an old version.
    /// </summary>
    private static OrtApiBase* FindApiBase()
    {
        OrtApiBase* found = null;
        if (NativeLibrary.TryLoad("onnxruntime", typeof(SessionOptions).Assembly, null, out var library)) found = ApiBase(library);
        if (found != null) return found;

        using var process = Process.GetCurrentProcess();
        foreach (ProcessModule module in process.Modules)
        {
            if (!module.ModuleName.Contains("onnxruntime") || !NativeLibrary.TryLoad(module.FileName, out library)) continue;
            found = ApiBase(library);
            if (found != null) return found;
        }

        throw new OrtException(
            "the native ONNX Runtime library was not found; add a package that has it, such as Microsoft.ML.OnnxRuntime.Gpu or Microsoft.ML.OnnxRuntime");
    }

    private static OrtApiBase* ApiBase(nint library) =>
        NativeLibrary.TryGetExport(library, "OrtGetApiBase", out var address) ? ((delegate* unmanaged<OrtApiBase*>)address)() : null;
}
