using System.Runtime.InteropServices;

namespace Onnx.IntScale;

/// <summary>The life of a kernel as ORT calls it: create once a node, compute once a run, destroy. Nothing may be thrown out of these.</summary>
internal static unsafe class KernelCallbacks
{
    /// <summary>Creates the kernel of a node.</summary>
    [UnmanagedCallersOnly]
    public static void* Create(OrtCustomOp* op, void** _, void* info, void** kernel)
    {
        var variant = OpVariant.Of(op);
        var node = "?";
        try
        {
            node = variant->Api.NodeName(info);
            INodeKernel made = variant->Provider == ExecutionProvider.Cuda
                ? new CudaIntScaleKernel(variant->Api, variant->Type, info, node)
                : new IntScaleKernel(variant->Api, variant->Type, info, node);
            *kernel = KernelHandle.Of(made);
            return null;
        }
        catch (Exception e)
        {
            *kernel = null;
            return OrtStatus.From(variant->Api, Named(node, e));
        }
    }

    /// <summary>Computes the node; may be called by several threads at once.</summary>
    [UnmanagedCallersOnly]
    public static void* Compute(void* kernel, void* context)
    {
        var self = KernelHandle.Kernel(kernel);
        try
        {
            self.Compute(context);
            return null;
        }
        catch (Exception e)
        {
            return OrtStatus.From(self.Api, Named(self.Node, e));
        }
    }

    /// <summary>Destroys a kernel.</summary>
    [UnmanagedCallersOnly]
    public static void Destroy(void* kernel)
    {
        try
        {
            KernelHandle.Kernel(kernel).Release();
            KernelHandle.Free(kernel);
        }
        catch (Exception)
        {
            // ORT gives no way to report it, and a leak is better than a dead process.
        }
    }

    /// <summary>What is the model's or the GPU's fault names the node.</summary>
    private static Exception Named(string node, Exception e) => e switch
    {
        NodeFaultException => new NodeFaultException($"node '{node}' ({OpSchema.FullName}): {e.Message}"),
        CudaException => new CudaException($"node '{node}' ({OpSchema.FullName}): {e.Message}"),
        _ => e,
    };
}
