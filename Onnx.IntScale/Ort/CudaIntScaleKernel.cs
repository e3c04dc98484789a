namespace Onnx.IntScale;

/// <summary>
/// The kernel of one node on the CUDA execution provider. A call launches one or two kernels on ORT's stream and returns: it allocates
/// nothing but scratch memory of ORT's, waits for nothing, and may be captured as a CUDA graph.
/// </summary>
internal sealed unsafe class CudaIntScaleKernel : INodeKernel
{
    private readonly ElementType _type;
    private readonly MatMulShape _shape;
    private readonly WeightFacts _facts;
    private readonly CudaContext _context;
    private readonly void* _allocator;
    private readonly void* _memory;
    private readonly CudaTensorMap? _codes;

    /// <summary>Makes the kernel of a node: checks its weights and loads every module that its calls may need.</summary>
    /// <exception cref="NodeFaultException">The model is at fault; the message lacks the node's name.</exception>
    /// <exception cref="CudaException">CUDA cannot be used; the message lacks the node's name.</exception>
    public CudaIntScaleKernel(OrtApi api, ElementType type, void* info, string node)
    {
        Api = api;
        Node = node;
        _type = type;
        var weights = KernelWeights.Read(api, info);
        _shape = weights.Shape;
        NodeInputs.CheckDeclaredK(api, info, _shape.K);
        NodeInputs.CheckConstantBias(api, info, type, _shape.N);

        // ORT has copied constants to the device by now; were they still on the host, they would be no address of the device's.
        var onHost = api.IsOnHost(api.ConstantInput(info, OpSchema.B));
        _context = CudaContext.For(onHost ? null : weights.B);
        KernelWeights.CheckChannelScales(onHost ? new ReadOnlySpan<float>(weights.ChannelScales, _shape.N) : CudaCertificate.ChannelScales(_context, weights));
        _facts = onHost ? WeightFacts.Of(weights) : CudaCertificate.Compute(_context, weights);
        KernelWeights.CheckCertificate(() => _facts.MaxAccumulator, KernelWeights.Claimed(api, info));
        var modules = CudaPlanner.Modules(_shape, _context.Device);
        _context.Load(modules);
        using var use = _context.Use();
        _allocator = api.Allocator(info);
        _memory = api.MemoryOf(_allocator);
        if (!onHost && modules.Contains(CudaKernels.Module("wgmma", _shape.BlockSize))) _codes = new CudaTensorMap(CudaParams.Of(weights, 0, type));
    }

    /// <inheritdoc/>
    public OrtApi Api { get; }

    /// <inheritdoc/>
    public string Node { get; }

    /// <inheritdoc/>
    public void Release()
    {
        _codes?.Dispose();
        Api.ReleaseAllocator(_allocator);
    }

    /// <inheritdoc/>
    public void Compute(void* context)
    {
        var a = Api.Input(context, OpSchema.A);
        var shape = Api.Shape(a);
        var m = NodeInputs.Rows(shape, _shape.K);
        var y = NodeInputs.Output(Api, context, shape, _shape.N);
        if (m == 0) return;

        var call = CudaParams.Of(Weights(context), m, _type);
        call.A = Api.Data(a);
        call.Y = y;
        call.Bias = NodeInputs.Bias(Api, context, _type, _shape.N);

        var plan = IsAligned(call) ? CudaPlanner.Plan(_shape, call.M, _type, _facts, _context.Device) : CudaPlanner.Plain(_shape, call.M, _type);
        var stream = Api.GpuStream(context);
        using var use = _context.Use();
        var bytes = CudaMatMul.ScratchBytes(plan);
        var scratch = bytes == 0 ? null : Api.Scratch(context, _memory, bytes);
        try
        {
            CudaMatMul.UseScratch(ref call, plan, scratch);
            CudaMatMul.Launch(_context, plan, call, stream, _codes == null ? null : _codes.For(call));
        }
        finally
        {
            if (scratch != null) Api.Free(_allocator, scratch);
        }
    }

    /// <summary>ORT's memory is aligned; what a user binds may be a slice of something.</summary>
    private static bool IsAligned(in CudaParams call) =>
        (nint)call.B % 16 == 0 && ((nint)call.Scales | (nint)call.ZeroPoints | (nint)call.ChannelScales) % 4 == 0;

    /// <summary>The weights of a call, where ORT says that they are.</summary>
    private WeightView Weights(void* context) => new(
        _shape,
        (byte*)Api.Data(Api.Input(context, OpSchema.B)),
        (short*)Api.Data(Api.Input(context, OpSchema.Scales)),
        (float*)Api.Data(Api.Input(context, OpSchema.ChannelScales)),
        _facts.ZeroPoints ? (byte*)Api.Data(Api.Input(context, OpSchema.ZeroPoints)) : null);
}
