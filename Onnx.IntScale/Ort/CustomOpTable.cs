using System.Runtime.InteropServices;

namespace Onnx.IntScale;

/// <summary>
/// The C struct OrtCustomOp, version 29 (208 bytes): how ORT asks an operator about itself. ORT keeps the pointer and calls into
/// it for as long as the process lives, so it lies in native memory that is never freed, as do the strings it returns.
/// Every callback is filled in, even where the answer is always 0: ORT calls most of them without looking.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct OrtCustomOp
{
    public uint Version;

    /// <summary>Superseded by <see cref="CreateKernelV2"/>, which can fail.</summary>
    public void* CreateKernel;
    public delegate* unmanaged<OrtCustomOp*, byte*> GetName;

    /// <summary>Null names the CPU.</summary>
    public delegate* unmanaged<OrtCustomOp*, byte*> GetExecutionProviderType;
    public delegate* unmanaged<OrtCustomOp*, nuint, int> GetInputType;
    public delegate* unmanaged<OrtCustomOp*, nuint> GetInputTypeCount;
    public delegate* unmanaged<OrtCustomOp*, nuint, int> GetOutputType;
    public delegate* unmanaged<OrtCustomOp*, nuint> GetOutputTypeCount;

    /// <summary>Superseded by <see cref="KernelComputeV2"/>, which can fail.</summary>
    public void* KernelCompute;
    public delegate* unmanaged<void*, void> KernelDestroy;
    public delegate* unmanaged<OrtCustomOp*, nuint, int> GetInputCharacteristic;
    public delegate* unmanaged<OrtCustomOp*, nuint, int> GetOutputCharacteristic;
    public delegate* unmanaged<OrtCustomOp*, nuint, int> GetInputMemoryType;
    public delegate* unmanaged<OrtCustomOp*, int> GetVariadicInputMinArity;
    public delegate* unmanaged<OrtCustomOp*, int> GetVariadicInputHomogeneity;
    public delegate* unmanaged<OrtCustomOp*, int> GetVariadicOutputMinArity;
    public delegate* unmanaged<OrtCustomOp*, int> GetVariadicOutputHomogeneity;
    public delegate* unmanaged<OrtCustomOp*, void**, void*, void**, void*> CreateKernelV2;
    public delegate* unmanaged<void*, void*, void*> KernelComputeV2;
    public delegate* unmanaged<OrtCustomOp*, void*, void*> InferOutputShape;
    public delegate* unmanaged<OrtCustomOp*, int> GetStartVersion;
    public delegate* unmanaged<OrtCustomOp*, int> GetEndVersion;
    public delegate* unmanaged<int**, int**, nuint> GetMayInplace;
    public delegate* unmanaged<int*, int*, void> ReleaseMayInplace;
    public delegate* unmanaged<int**, int**, nuint> GetAliasMap;
    public delegate* unmanaged<int*, int*, void> ReleaseAliasMap;
}

/// <summary>
/// One registered variant: <c>MatMulNBitsIntScale</c> for one element type of A on one execution provider. ORT picks the variant by the
/// types of the inputs and by the provider it gives the node to: the first in the session's order that has a variant.
/// The C struct comes first, so that a callback's OrtCustomOp* is also a pointer to this.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct OpVariant
{
    public OrtCustomOp Op;
    public OrtApi Api;
    public ElementType Type;
    public ExecutionProvider Provider;

    /// <summary>The variant that a callback is about.</summary>
    public static OpVariant* Of(OrtCustomOp* op) => (OpVariant*)op;
}

/// <summary>Where a variant computes.</summary>
internal enum ExecutionProvider
{
    Cpu,
    Cuda,
}
