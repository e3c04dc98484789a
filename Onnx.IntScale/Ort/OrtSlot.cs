namespace Onnx.IntScale;

/// <summary>
/// Indices into the C struct OrtApi, named as in onnxruntime_c_api.h (1.29). The struct is an array of function pointers to
/// which releases only append, so an index is for good; a test derives them again from the header of the ORT package.
/// </summary>
internal static class OrtSlot
{
    public const int CreateStatus = 0;
    public const int GetErrorMessage = 2;
    public const int CreateCustomOpDomain = 26;
    public const int CustomOpDomain_Add = 27;
    public const int AddCustomOpDomain = 28;
    public const int GetTensorMutableData = 51;
    public const int CastTypeInfoToTensorInfo = 55;
    public const int CreateTensorTypeAndShapeInfo = 57;
    public const int SetTensorElementType = 58;
    public const int SetDimensions = 59;
    public const int GetTensorElementType = 60;
    public const int GetDimensionsCount = 61;
    public const int GetDimensions = 62;
    public const int GetSymbolicDimensions = 63;
    public const int AllocatorAlloc = 75;
    public const int AllocatorFree = 76;
    public const int AllocatorGetInfo = 77;
    public const int KernelInfoGetAttribute_int64 = 86;
    public const int KernelContext_GetInput = 90;
    public const int KernelContext_GetOutput = 91;
    public const int ReleaseStatus = 93;
    public const int ReleaseTypeInfo = 98;
    public const int ReleaseTensorTypeAndShapeInfo = 99;
    public const int ReleaseAllocator = 132;
    public const int KernelContext_GetGPUComputeStream = 193;
    public const int GetTensorMemoryInfo = 194;
    public const int MemoryInfoGetDeviceType = 225;
    public const int KernelInfo_GetInputCount = 230;
    public const int KernelInfo_GetInputName = 232;
    public const int KernelInfo_GetInputTypeInfo = 234;
    public const int KernelInfo_GetNodeName = 244;
    public const int KernelInfoGetConstantInput_tensor = 249;
    public const int ShapeInferContext_GetInputTypeShape = 268;
    public const int ShapeInferContext_GetAttribute = 269;
    public const int ShapeInferContext_SetOutputTypeShape = 270;
    public const int SetSymbolicDimensions = 271;
    public const int ReadOpAttr = 272;
    public const int KernelContext_ParallelFor = 274;
    public const int KernelContext_GetScratchBuffer = 277;
    public const int KernelInfoGetAllocator = 278;
    public const int GetTensorElementTypeAndShapeDataReference = 414;
}
