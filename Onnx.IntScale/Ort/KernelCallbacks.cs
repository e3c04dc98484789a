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
        try
        {
            *kernel = IntScaleKernel.Create(variant->Api, variant->Type, info);
            return null;
        }
        catch (Exception e)
        {
            *kernel = null;
            return OrtStatus.From(variant->Api, e);
        }
    }

    /// <summary>Computes the node; may be called by several threads at once.</summary>
    [UnmanagedCallersOnly]
    public static void* Compute(void* kernel, void* context)
    {
        var self = IntScaleKernel.Of(kernel);
        try
        {
            self.Compute(context);
            return null;
        }
        catch (Exception e)
        {
            return OrtStatus.From(self.Api, e);
        }
    }

    /// <summary>Destroys a kernel.</summary>
    [UnmanagedCallersOnly]
    public static void Destroy(void* kernel)
    {
        try
        {
            IntScaleKernel.Of(kernel).Destroy();
        }
        catch (Exception)
        {
            // ORT gives no way to report it, and a leak is better than a dead process.
        }
    }
}
