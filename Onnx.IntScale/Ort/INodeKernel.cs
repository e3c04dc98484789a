using System.Runtime.InteropServices;

namespace Onnx.IntScale;

/// <summary>The kernel of one node, on the execution provider that ONNX Runtime gave the node to. Calls may overlap.</summary>
internal unsafe interface INodeKernel
{
    /// <summary>Where errors of this kernel's calls go.</summary>
    OrtApi Api { get; }

    /// <summary>The node's name, for messages.</summary>
    string Node { get; }

    /// <summary>One call: Y [..., N] from A [..., K].</summary>
    /// <exception cref="NodeFaultException">The inputs do not fit the node.</exception>
    void Compute(void* context);

    /// <summary>Releases what the kernel holds; ORT destroys a kernel when no call is running.</summary>
    void Release();
}

/// <summary>A kernel as ORT keeps it: a pointer that leads back to the object.</summary>
internal static unsafe class KernelHandle
{
    /// <summary>Keeps the kernel alive until <see cref="Free"/>.</summary>
    public static void* Of(INodeKernel kernel) => (void*)GCHandle.ToIntPtr(GCHandle.Alloc(kernel));

    public static INodeKernel Kernel(void* handle) => (INodeKernel)GCHandle.FromIntPtr((nint)handle).Target!;

    public static void Free(void* handle) => GCHandle.FromIntPtr((nint)handle).Free();
}
