using System.Runtime.InteropServices;

namespace Onnx.IntScale;

/// <summary>
/// The kernel of one node on the CPU execution provider: weights where ORT keeps them, and calls that take their scratch memory
/// from the session's arena and their threads from its intra-op pool. A call allocates nothing managed, and calls may overlap.
/// </summary>
internal sealed unsafe class IntScaleKernel
{
    /// <summary>Multiplications below which waking other threads (microseconds) costs more than it saves.</summary>
    private const long WorthThreads = 1 << 18;

    private const int MaxRank = 32;

    private readonly OrtApi _api;
    private readonly ElementType _type;
    private readonly WeightView _weights;
    private readonly string _node;
    private readonly nint _self;
    private readonly void* _allocator;
    private Exception? _workerFault;

    private IntScaleKernel(OrtApi api, ElementType type, void* info, string node)
    {
        _api = api;
        _type = type;
        _node = node;
        _weights = KernelWeights.Read(api, info);
        var k = api.DeclaredLastDim(info, OpSchema.A);
        if (k >= 0 && k != _weights.Shape.K) throw new NodeFaultException(KernelWeights.WrongK(k, _weights.Shape.K));
        var bias = api.ConstantInput(info, OpSchema.Bias);
        if (bias != null) CheckBias(bias);
        // A kernel that the user forces and this processor lacks is told now, not at the first run.
        _ = CpuKernels.Forced;
        _allocator = api.Allocator(info);
        _self = GCHandle.ToIntPtr(GCHandle.Alloc(this));
    }

    /// <summary>Creates the kernel of a node; returns what ORT hands back to <see cref="Of"/>.</summary>
    /// <exception cref="NodeFaultException">The model is at fault.</exception>
    public static void* Create(OrtApi api, ElementType type, void* info)
    {
        var node = api.NodeName(info);
        try
        {
            return (void*)new IntScaleKernel(api, type, info, node)._self;
        }
        catch (NodeFaultException e)
        {
            throw Named(node, e);
        }
    }

    /// <summary>The kernel that ORT calls by this pointer.</summary>
    public static IntScaleKernel Of(void* kernel) => (IntScaleKernel)GCHandle.FromIntPtr((nint)kernel).Target!;

    /// <summary>Where errors of this kernel's calls go.</summary>
    public OrtApi Api => _api;

    /// <summary>Releases what the kernel holds; ORT destroys a kernel when no call is running.</summary>
    public void Destroy()
    {
        _api.ReleaseAllocator(_allocator);
        GCHandle.FromIntPtr(_self).Free();
    }

    /// <summary>One call: Y [..., N] from A [..., K].</summary>
    /// <exception cref="NodeFaultException">The inputs do not fit the node.</exception>
    public void Compute(void* context)
    {
        try
        {
            Run(context);
        }
        catch (NodeFaultException e)
        {
            throw Named(_node, e);
        }
    }

    private void Run(void* context)
    {
        var a = _api.Input(context, OpSchema.A);
        var shape = _api.Shape(a);
        var job = new MatMulJob { Weights = _weights, Type = _type, M = Rows(shape) };
        var dims = stackalloc long[MaxRank];
        new ReadOnlySpan<long>(shape.Dims, shape.Rank).CopyTo(new Span<long>(dims, MaxRank));
        dims[shape.Rank - 1] = _weights.Shape.N;
        job.Y = _api.Data(_api.Output(context, dims, shape.Rank));
        if (job.M == 0) return;

        job.Plan = CpuKernels.Plan(job.M);
        job.A = _api.Data(a);
        var bias = _api.Input(context, OpSchema.Bias);
        if (bias != null) job.Bias = CheckBias(bias);
        var scratch = _api.Alloc(_allocator, MatMulJob.ScratchBytes(_weights.Shape, job.Plan.ScratchRows(job.M)));
        try
        {
            job.UseScratch((byte*)scratch);
            var round = new Round { Kernel = _self, Job = job };
            RunTasks(context, &round, IntScaleMatMul.QuantizeTasks(job), (long)job.M * _weights.Shape.K);
            round.Tiles = true;
            RunTasks(context, &round, IntScaleMatMul.TileTasks(job), (long)job.M * _weights.Shape.K * _weights.Shape.N);
        }
        finally
        {
            _api.Free(_allocator, scratch);
        }
    }

    /// <summary>M, the product of A's leading dimensions.</summary>
    private int Rows(TensorShape a)
    {
        var k = _weights.Shape.K;
        if (a.Rank is 0 or > MaxRank) throw new NodeFaultException($"A has {a.Rank} dimensions; give it 1 to {MaxRank}, the last one of K={k}");
        if (a.Dims[a.Rank - 1] != k) throw new NodeFaultException(KernelWeights.WrongK(a.Dims[a.Rank - 1], k));
        // ORT has made a tensor of it, so the product fits a long.
        var rows = 1L;
        for (var i = 0; i < a.Rank - 1; i++) rows *= a.Dims[i];
        return rows <= int.MaxValue ? (int)rows : throw new NodeFaultException($"A has {rows} rows; at most {int.MaxValue} are possible, so split the batch");
    }

    private void* CheckBias(void* bias)
    {
        var shape = _api.Shape(bias);
        if (shape.Type != (int)_type) throw new NodeFaultException($"bias has element type {shape.Type}, expected A's, {(int)_type}; cast it");
        if (!shape.Is([_weights.Shape.N])) throw new NodeFaultException($"bias has shape {shape}, expected [{_weights.Shape.N}]; reshape it");
        return _api.Data(bias);
    }

    private void RunTasks(void* context, Round* round, int tasks, long multiplications)
    {
        if (tasks == 1 || multiplications < WorthThreads)
        {
            for (var task = 0; task < tasks; task++) RunTask(round, task);
            return;
        }

        _api.ParallelFor(context, &RunTaskOnPool, tasks, round);
        if (!round->Failed) return;
        var fault = Interlocked.Exchange(ref _workerFault, null);
        throw new InvalidOperationException($"node '{_node}': a thread failed: {fault?.Message}", fault);
    }

    private void RunTask(Round* round, int task)
    {
        if (round->Tiles) IntScaleMatMul.ComputeTiles(round->Job, task);
        else IntScaleMatMul.Quantize(round->Job, task);
    }

    /// <summary>A task's body cannot return a status, so a failure is noted and becomes one when all tasks are over.</summary>
    [UnmanagedCallersOnly]
    private static void RunTaskOnPool(void* data, nuint task)
    {
        var round = (Round*)data;
        try
        {
            Of((void*)round->Kernel).RunTask(round, (int)task);
        }
        catch (Exception e)
        {
            Of((void*)round->Kernel)._workerFault = e;
            round->Failed = true;
        }
    }

    private static NodeFaultException Named(string node, NodeFaultException e) => new($"node '{node}' ({OpSchema.FullName}): {e.Message}");

    /// <summary>What the tasks of one call share; it lies on the caller's stack, which outlives them.</summary>
    private struct Round
    {
        public nint Kernel;
        public MatMulJob Job;
        public bool Tiles;
        public bool Failed;
    }
}
