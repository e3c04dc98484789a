using System.Runtime.InteropServices;

namespace Onnx.IntScale;

/// <summary>
/// Registers the operator with session options of an ONNX Runtime. The domain and its ops are made once for each ONNX Runtime in
/// the process and never freed: sessions keep pointers into them, and ORT does not say when the last one is gone.
/// </summary>
internal static unsafe class OpRegistration
{
    private static readonly Lock Gate = new();
    private static readonly Dictionary<(OrtApi Api, bool Cuda), nint> Domains = [];

    /// <summary>Adds the operator to OrtSessionOptions.</summary>
    /// <param name="api">The ONNX Runtime that the options are of.</param>
    /// <param name="options">The options.</param>
    /// <param name="cuda">Whether it runs on CUDA where a session has that provider; without, it runs on the CPU there too.</param>
    /// <exception cref="OrtException">ORT refuses.</exception>
    public static void Register(OrtApi api, void* options, bool cuda = true)
    {
        lock (Gate)
        {
            if (!Domains.TryGetValue((api, cuda), out var domain)) Domains[(api, cuda)] = domain = (nint)CreateDomain(api, cuda);
            api.AddToOptions(options, (void*)domain);
        }
    }

    private static void* CreateDomain(OrtApi api, bool cuda)
    {
        var domain = api.CreateCustomOpDomain((byte*)Marshal.StringToCoTaskMemUTF8(OpSchema.Domain));
        ReadOnlySpan<ElementType> types = [ElementType.Float, ElementType.Float16, ElementType.BFloat16];
        foreach (var type in types)
        {
            // Without the CUDA provider in a session its variant is not looked at, and no driver is looked for.
            api.AddToDomain(domain, IntScaleOp.Create(api, type, ExecutionProvider.Cpu));
            if (cuda) api.AddToDomain(domain, IntScaleOp.Create(api, type, ExecutionProvider.Cuda));
        }

        return domain;
    }
}
