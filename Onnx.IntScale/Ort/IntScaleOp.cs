using System.Runtime.InteropServices;

namespace Onnx.IntScale;

/// <summary>
/// What ORT is told about <c>com.intscale::MatMulNBitsIntScale</c>: inputs A, B, scales, channel_scales, zero_points (optional),
/// bias (optional), output Y. A, bias and Y share a type; there is one variant for each, on each execution provider.
/// Inputs and output lie in the provider's own memory.
/// Callbacks are called by native code: nothing may be thrown out of them.
/// </summary>
internal static unsafe class IntScaleOp
{
    private const int UInt8 = 2;
    private const int Int16 = 5;
    private const int Required = 0;
    private const int Optional = 1;

    private static readonly byte* Name = (byte*)Marshal.StringToCoTaskMemUTF8(OpSchema.OpType);
    private static readonly byte* Cuda = (byte*)Marshal.StringToCoTaskMemUTF8("CUDAExecutionProvider");

    /// <summary>Makes the variant for one element type of A on one execution provider, for good.</summary>
    public static OrtCustomOp* Create(OrtApi api, ElementType type, ExecutionProvider provider)
    {
        var variant = (OpVariant*)NativeMemory.AllocZeroed((nuint)sizeof(OpVariant));
        variant->Api = api;
        variant->Type = type;
        variant->Provider = provider;
        variant->Op = new OrtCustomOp
        {
            Version = OrtApi.Version,
            GetName = &GetName,
            GetExecutionProviderType = &GetExecutionProviderType,
            GetInputType = &GetInputType,
            GetInputTypeCount = &GetInputTypeCount,
            GetOutputType = &GetOutputType,
            GetOutputTypeCount = &GetOutputTypeCount,
            KernelDestroy = &KernelCallbacks.Destroy,
            GetInputCharacteristic = &GetInputCharacteristic,
            GetOutputCharacteristic = &ZeroAt,
            GetInputMemoryType = &ZeroAt,
            GetVariadicInputMinArity = &Zero,
            GetVariadicInputHomogeneity = &Zero,
            GetVariadicOutputMinArity = &Zero,
            GetVariadicOutputHomogeneity = &Zero,
            CreateKernelV2 = &KernelCallbacks.Create,
            KernelComputeV2 = &KernelCallbacks.Compute,
            InferOutputShape = &InferOutputShape,
            GetStartVersion = &GetStartVersion,
            GetEndVersion = &GetEndVersion,
            GetMayInplace = &NoPairs,
            ReleaseMayInplace = &ReleasePairs,
            GetAliasMap = &NoPairs,
            ReleaseAliasMap = &ReleasePairs,
        };
        return &variant->Op;
    }

    [UnmanagedCallersOnly]
    private static byte* GetName(OrtCustomOp* op) => Name;

    [UnmanagedCallersOnly]
    private static byte* GetExecutionProviderType(OrtCustomOp* op) => OpVariant.Of(op)->Provider == ExecutionProvider.Cuda ? Cuda : null;

    [UnmanagedCallersOnly]
    private static int GetInputType(OrtCustomOp* op, nuint index) => (int)index switch
    {
        OpSchema.B or OpSchema.ZeroPoints => UInt8,
        OpSchema.Scales => Int16,
        OpSchema.ChannelScales => (int)ElementType.Float,
        _ => (int)OpVariant.Of(op)->Type,
    };

    [UnmanagedCallersOnly]
    private static nuint GetInputTypeCount(OrtCustomOp* op) => OpSchema.InputCount;

    [UnmanagedCallersOnly]
    private static int GetOutputType(OrtCustomOp* op, nuint index) => (int)OpVariant.Of(op)->Type;

    [UnmanagedCallersOnly]
    private static nuint GetOutputTypeCount(OrtCustomOp* op) => 1;

    [UnmanagedCallersOnly]
    private static int GetInputCharacteristic(OrtCustomOp* op, nuint index) => (int)index is OpSchema.ZeroPoints or OpSchema.Bias ? Optional : Required;

    [UnmanagedCallersOnly]
    private static int ZeroAt(OrtCustomOp* op, nuint index) => 0;

    [UnmanagedCallersOnly]
    private static int Zero(OrtCustomOp* op) => 0;

    [UnmanagedCallersOnly]
    private static int GetStartVersion(OrtCustomOp* op) => OpSchema.Version;

    [UnmanagedCallersOnly]
    private static int GetEndVersion(OrtCustomOp* op) => int.MaxValue;

    [UnmanagedCallersOnly]
    private static nuint NoPairs(int** inputs, int** outputs) => 0;

    [UnmanagedCallersOnly]
    private static void ReleasePairs(int* inputs, int* outputs)
    {
    }

    [UnmanagedCallersOnly]
    private static void* InferOutputShape(OrtCustomOp* op, void* context)
    {
        var api = OpVariant.Of(op)->Api;
        try
        {
            ShapeInference.Run(api, context);
            return null;
        }
        catch (Exception e)
        {
            return OrtStatus.From(api, e);
        }
    }
}
