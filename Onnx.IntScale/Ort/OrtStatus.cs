using System.Text;

namespace Onnx.IntScale;

/// <summary>A call into ONNX Runtime failed, or ONNX Runtime cannot be used; the message says what to do.</summary>
public sealed class OrtException(string message) : Exception(message);

/// <summary>
/// OrtStatus both ways. Null is success; anything else is an object that its receiver releases. A status that ORT returns becomes
/// an <see cref="OrtException"/>, and an exception that would leave a callback becomes a status: it must never reach native code.
/// </summary>
internal static unsafe class OrtStatus
{
    private const int Fail = 1;
    private const int InvalidArgument = 2;

    /// <summary>Throws what a status says, and releases it.</summary>
    /// <exception cref="OrtException">The status is not success.</exception>
    public static void Check(OrtApi api, void* status)
    {
        if (status == null) return;
        var message = OrtApi.Text(api.GetErrorMessage(status));
        api.ReleaseStatus(status);
        throw new OrtException(message);
    }

    /// <summary>
    /// A status with an exception's message. A model at fault is an invalid argument and its message says all;
    /// anything else is a defect of this library, so its type is told too.
    /// </summary>
    public static void* From(OrtApi api, Exception e) => e switch
    {
        NodeFaultException => Create(api, InvalidArgument, e.Message),
        OrtException or CudaException => Create(api, Fail, e.Message),
        TypeInitializationException { InnerException: { } inner } => From(api, inner),
        _ => Create(api, Fail, $"{OpSchema.FullName}: {e.GetType().Name}: {e.Message}"),
    };

    private static void* Create(OrtApi api, int code, string message)
    {
        fixed (byte* text = Encoding.UTF8.GetBytes(message + '\0')) return api.CreateStatus(code, text);
    }
}

/// <summary>A node of the model is at fault. The message names it, and the remedy.</summary>
internal sealed class NodeFaultException(string message) : Exception(message);
