using System.Runtime.InteropServices;

namespace Onnx.IntScale.Native;

/// <summary>The one function that the library exports.</summary>
internal static unsafe class Exports
{
    /// <summary>
    /// What ONNX Runtime calls in a custom-op library:
    /// <c>OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* api)</c>.
    /// </summary>
    [UnmanagedCallersOnly(EntryPoint = "RegisterCustomOps")]
    private static void* RegisterCustomOps(void* options, OrtApiBase* apiBase)
    {
        try
        {
            OpRegistration.Register(OrtApi.From(apiBase), options);
            return null;
        }
        catch (Exception e)
        {
            return OrtStatus.From(OrtApi.Oldest(apiBase), e);
        }
    }
}
