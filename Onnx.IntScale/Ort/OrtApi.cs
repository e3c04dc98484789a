using System.Runtime.InteropServices;

namespace Onnx.IntScale;

/// <summary>What <c>OrtGetApiBase()</c> returns, and what a custom-op library is handed.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct OrtApiBase
{
    public delegate* unmanaged<uint, void**> GetApi;
    public delegate* unmanaged<byte*> GetVersionString;
}

/// <summary>
/// The functions of ONNX Runtime's C API that the operator uses, called through their slots in the C struct OrtApi.
/// Objects of ORT (OrtValue, OrtKernelInfo, ...) are opaque and appear as void*; a status other than success is thrown.
/// </summary>
internal readonly unsafe partial struct OrtApi : IEquatable<OrtApi>
{
    /// <summary>The C API version asked for: that of the first release with everything used here and of the OrtCustomOp struct.</summary>
    public const uint Version = 29;

    private readonly void** _slots;

    private OrtApi(void** slots) => _slots = slots;

    /// <summary>The API of an ONNX Runtime.</summary>
    /// <exception cref="OrtException">It is older than 1.29.</exception>
    public static OrtApi From(OrtApiBase* apiBase)
    {
        var slots = apiBase->GetApi(Version);
        return slots != null
            ? new OrtApi(slots)
            : throw new OrtException(
                $"{OpSchema.FullName} needs ONNX Runtime 1.{Version} or later, and this is {Text(apiBase->GetVersionString())}; update ONNX Runtime");
    }

    /// <summary>The first version of the API, which every ONNX Runtime has: enough to tell of an error.</summary>
    public static OrtApi Oldest(OrtApiBase* apiBase) => new(apiBase->GetApi(1));

    /// <summary>A zero-terminated UTF-8 string.</summary>
    public static string Text(byte* text) => Marshal.PtrToStringUTF8((nint)text) ?? "";

    /// <inheritdoc/>
    public bool Equals(OrtApi other) => _slots == other._slots;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is OrtApi other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => ((nint)_slots).GetHashCode();

    // Status
    public void* CreateStatus(int code, byte* message) => ((delegate* unmanaged<int, byte*, void*>)_slots[OrtSlot.CreateStatus])(code, message);

    public byte* GetErrorMessage(void* status) => ((delegate* unmanaged<void*, byte*>)_slots[OrtSlot.GetErrorMessage])(status);

    public void ReleaseStatus(void* status) => ((delegate* unmanaged<void*, void>)_slots[OrtSlot.ReleaseStatus])(status);

    // Registration
    public void* CreateCustomOpDomain(byte* name)
    {
        void* domain;
        Check(((delegate* unmanaged<byte*, void**, void*>)_slots[OrtSlot.CreateCustomOpDomain])(name, &domain));
        return domain;
    }

    public void AddToDomain(void* domain, OrtCustomOp* op) =>
        Check(((delegate* unmanaged<void*, OrtCustomOp*, void*>)_slots[OrtSlot.CustomOpDomain_Add])(domain, op));

    public void AddToOptions(void* options, void* domain) =>
        Check(((delegate* unmanaged<void*, void*, void*>)_slots[OrtSlot.AddCustomOpDomain])(options, domain));

    // Tensors
    /// <summary>Where a tensor's elements lie.</summary>
    public void* Data(void* value)
    {
        void* data;
        Check(((delegate* unmanaged<void*, void**, void*>)_slots[OrtSlot.GetTensorMutableData])(value, &data));
        return data;
    }

    /// <summary>Type and shape, without the allocation that GetTensorTypeAndShape makes; the dims are the tensor's own.</summary>
    public TensorShape Shape(void* value)
    {
        int type;
        long* dims;
        nuint rank;
        Check(((delegate* unmanaged<void*, int*, long**, nuint*, void*>)_slots[OrtSlot.GetTensorElementTypeAndShapeDataReference])(value, &type, &dims, &rank));
        return new TensorShape(type, dims, (int)rank);
    }

    /// <summary>Whether a tensor's elements lie in memory of the host.</summary>
    public bool IsOnHost(void* value)
    {
        const int Cpu = 0;
        void* memory;
        int device;
        Check(((delegate* unmanaged<void*, void**, void*>)_slots[OrtSlot.GetTensorMemoryInfo])(value, &memory));
        ((delegate* unmanaged<void*, int*, void>)_slots[OrtSlot.MemoryInfoGetDeviceType])(memory, &device);
        return device == Cpu;
    }

    // What a kernel is created from
    /// <summary>An int attribute, or null where the node has none of that name (or one of another type).</summary>
    public long? IntAttribute(void* info, ReadOnlySpan<byte> name)
    {
        long value;
        fixed (byte* text = name)
        {
            var status = ((delegate* unmanaged<void*, byte*, long*, void*>)_slots[OrtSlot.KernelInfoGetAttribute_int64])(info, text, &value);
            if (status == null) return value;
            ReleaseStatus(status);
            return null;
        }
    }

    public string NodeName(void* info)
    {
        var get = (delegate* unmanaged<void*, byte*, nuint*, void*>)_slots[OrtSlot.KernelInfo_GetNodeName];
        nuint size = 0;
        Check(get(info, null, &size));
        fixed (byte* text = new byte[(int)size])
        {
            Check(get(info, text, &size));
            return Text(text);
        }
    }

    /// <summary>Whether an input is given: there is a name in its place. An omitted optional input in the middle has an empty one.</summary>
    public bool HasInput(void* info, int index)
    {
        nuint count;
        Check(((delegate* unmanaged<void*, nuint*, void*>)_slots[OrtSlot.KernelInfo_GetInputCount])(info, &count));
        if (index >= (int)count) return false;
        nuint size = 0;
        Check(((delegate* unmanaged<void*, nuint, byte*, nuint*, void*>)_slots[OrtSlot.KernelInfo_GetInputName])(info, (nuint)index, null, &size));
        return size > 1;
    }

    /// <summary>The OrtValue of a constant initializer, which the session keeps, or null where the input is absent or not constant.</summary>
    public void* ConstantInput(void* info, int index)
    {
        int constant;
        void* value = null;
        var get = (delegate* unmanaged<void*, nuint, int*, void**, void*>)_slots[OrtSlot.KernelInfoGetConstantInput_tensor];
        Check(get(info, (nuint)index, &constant, &value));
        return constant != 0 ? value : null;
    }

    /// <summary>The last dimension that the graph declares for an input, or -1 where it declares none.</summary>
    public long DeclaredLastDim(void* info, int index)
    {
        void* type;
        Check(((delegate* unmanaged<void*, nuint, void**, void*>)_slots[OrtSlot.KernelInfo_GetInputTypeInfo])(info, (nuint)index, &type));
        try
        {
            void* tensor;
            Check(((delegate* unmanaged<void*, void**, void*>)_slots[OrtSlot.CastTypeInfoToTensorInfo])(type, &tensor));
            if (tensor == null) return -1;
            var dims = Dimensions(tensor);
            return dims.Length == 0 ? -1 : dims[^1];
        }
        finally
        {
            ((delegate* unmanaged<void*, void>)_slots[OrtSlot.ReleaseTypeInfo])(type);
        }
    }

    /// <summary>The execution provider's allocator (the session's arena on the CPU, one of device memory on CUDA); release it.</summary>
    public void* Allocator(void* info)
    {
        void* allocator;
        Check(((delegate* unmanaged<void*, int, void**, void*>)_slots[OrtSlot.KernelInfoGetAllocator])(info, 0, &allocator));
        return allocator;
    }

    public void ReleaseAllocator(void* allocator) => ((delegate* unmanaged<void*, void>)_slots[OrtSlot.ReleaseAllocator])(allocator);

    /// <summary>What memory an allocator gives; the allocator's own.</summary>
    public void* MemoryOf(void* allocator)
    {
        void* memory;
        Check(((delegate* unmanaged<void*, void**, void*>)_slots[OrtSlot.AllocatorGetInfo])(allocator, &memory));
        return memory;
    }

    public void* Alloc(void* allocator, long bytes)
    {
        void* memory;
        Check(((delegate* unmanaged<void*, nuint, void**, void*>)_slots[OrtSlot.AllocatorAlloc])(allocator, (nuint)bytes, &memory));
        return memory;
    }

    public void Free(void* allocator, void* memory) =>
        Check(((delegate* unmanaged<void*, void*, void*>)_slots[OrtSlot.AllocatorFree])(allocator, memory));

    // A call of a kernel
    /// <summary>An input of this call, or null where it is omitted.</summary>
    public void* Input(void* context, int index)
    {
        void* value;
        Check(((delegate* unmanaged<void*, nuint, void**, void*>)_slots[OrtSlot.KernelContext_GetInput])(context, (nuint)index, &value));
        return value;
    }

    /// <summary>Allocates output 0 of this call.</summary>
    public void* Output(void* context, long* dims, int rank)
    {
        void* value;
        Check(((delegate* unmanaged<void*, nuint, long*, nuint, void**, void*>)_slots[OrtSlot.KernelContext_GetOutput])(context, 0, dims, (nuint)rank, &value));
        return value;
    }

    /// <summary>The CUstream of this call.</summary>
    public nint GpuStream(void* context)
    {
        nint stream;
        Check(((delegate* unmanaged<void*, nint*, void*>)_slots[OrtSlot.KernelContext_GetGPUComputeStream])(context, &stream));
        return stream;
    }

    /// <summary>
    /// Memory for this call's stream. Given back with <see cref="Free"/> as soon as what uses it is launched: ORT hands it only to
    /// what comes later on the same stream.
    /// </summary>
    public void* Scratch(void* context, void* memory, long bytes)
    {
        void* scratch;
        var get = (delegate* unmanaged<void*, void*, nuint, void**, void*>)_slots[OrtSlot.KernelContext_GetScratchBuffer];
        Check(get(context, memory, (nuint)bytes, &scratch));
        return scratch;
    }

    /// <summary>
    /// Runs body(data, i) for i in 0..total on the session's intra-op threads, this one among them, and returns when all are done.
    /// ORT's num_batch is 0: no fixed batches, a thread takes the next i when it is free, so that a slow core delays nobody.
    /// </summary>
    public void ParallelFor(void* context, delegate* unmanaged<void*, nuint, void> body, int total, void* data)
    {
        var run = (delegate* unmanaged<void*, delegate* unmanaged<void*, nuint, void>, nuint, nuint, void*, void*>)_slots[OrtSlot.KernelContext_ParallelFor];
        Check(run(context, body, (nuint)total, 0, data));
    }

    private void Check(void* status)
    {
        if (status != null) OrtStatus.Check(this, status);
    }
}
