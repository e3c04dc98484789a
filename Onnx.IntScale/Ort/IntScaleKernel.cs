using System.Runtime.InteropServices;

namespace Onnx.IntScale;

/// <summary>
/// The kernel of one node on the CPU execution provider: weights where ORT keeps them, and calls that take their scratch memory
/// from the session's arena and their threads from its intra-op pool. A call allocates nothing managed, and calls may overlap.
/// </summary>
internal sealed unsafe class IntScaleKernel : INodeKernel
{
    /// <summary>Multiplications below which waking other threads (microseconds) costs more than it saves.</summary>
    private const long WorthThreads = 1 << 18;

    private readonly ElementType _type;
    private readonly WeightView _weights;
    private readonly GCHandle _self;
    private readonly void* _allocator;
    private Exception? _workerFault;

    /// <summary>Makes the kernel of a node.</summary>
    /// <exception cref="NodeFaultException">The model is at fault; the message lacks the node's name.</exception>
    public IntScaleKernel(OrtApi api, ElementType type, void* info, string node)
    {
        Api = api;
        Node = node;
        _type = type;
        _weights = KernelWeights.Read(api, info);
        KernelWeights.CheckChannelScales(new ReadOnlySpan<float>(_weights.ChannelScales, _weights.Shape.N));
        KernelWeights.CheckCertificate(() => Certificate.Compute(_weights), KernelWeights.Claimed(api, info));
        NodeInputs.CheckDeclaredK(api, info, _weights.Shape.K);
        NodeInputs.CheckConstantBias(api, info, type, _weights.Shape.N);
        // A kernel that the user forces and this processor lacks is told now, not at the first run.
        _ = CpuKernels.Forced;
        _allocator = api.Allocator(info);
        _self = GCHandle.Alloc(this);
    }

    /// <inheritdoc/>
    public OrtApi Api { get; }

    /// <inheritdoc/>
    public string Node { get; }

    /// <inheritdoc/>
    public void Release()
    {
        Api.ReleaseAllocator(_allocator);
        _self.Free();
    }

    /// <inheritdoc/>
    public void Compute(void* context)
    {
        var a = Api.Input(context, OpSchema.A);
        var shape = Api.Shape(a);
        var job = new MatMulJob { Weights = _weights, Type = _type, M = NodeInputs.Rows(shape, _weights.Shape.K) };
        job.Y = NodeInputs.Output(Api, context, shape, _weights.Shape.N);
        if (job.M == 0) return;

        job.Plan = CpuKernels.Plan(job.M);
        job.A = Api.Data(a);
        job.Bias = NodeInputs.Bias(Api, context, _type, _weights.Shape.N);
        var scratch = Api.Alloc(_allocator, MatMulJob.ScratchBytes(_weights.Shape, job.Plan.ScratchRows(job.M)));
        try
        {
            job.UseScratch((byte*)scratch);
            var round = new Round { Kernel = GCHandle.ToIntPtr(_self), Job = job };
            RunTasks(context, &round, IntScaleMatMul.QuantizeTasks(job), (long)job.M * _weights.Shape.K);
            round.Tiles = true;
            RunTasks(context, &round, IntScaleMatMul.TileTasks(job), (long)job.M * _weights.Shape.K * _weights.Shape.N);
        }
        finally
        {
            Api.Free(_allocator, scratch);
        }
    }

    private void RunTasks(void* context, Round* round, int tasks, long multiplications)
    {
        if (tasks == 1 || multiplications < WorthThreads)
        {
            for (var task = 0; task < tasks; task++) RunTask(round, task);
            return;
        }

        Api.ParallelFor(context, &RunTaskOnPool, tasks, round);
        if (!round->Failed) return;
        var fault = Interlocked.Exchange(ref _workerFault, null);
        throw new InvalidOperationException($"node '{Node}': a thread failed: {fault?.Message}", fault);
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
            Of(round).RunTask(round, (int)task);
        }
        catch (Exception e)
        {
            Of(round)._workerFault = e;
            round->Failed = true;
        }
    }

    private static IntScaleKernel Of(Round* round) => (IntScaleKernel)GCHandle.FromIntPtr(round->Kernel).Target!;

    /// <summary>What the tasks of one call share; it lies on the caller's stack, which outlives them.</summary>
    private struct Round
    {
        public nint Kernel;
        public MatMulJob Job;
        public bool Tiles;
        public bool Failed;
    }
}
