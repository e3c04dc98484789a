namespace Onnx.IntScale.Bench;

/// <summary>A stream of its own on a device, in the device's primary context.</summary>
internal sealed class DeviceStream : IDisposable
{
    /// <summary>Opens a device.</summary>
    /// <exception cref="CudaException">There is none, or it cannot be used.</exception>
    public DeviceStream(int ordinal)
    {
        Context = CudaContext.OfDevice(ordinal);
        using var use = Context.Use();
        Handle = CudaDriver.CreateStream();
    }

    /// <summary>Whose stream it is.</summary>
    public CudaContext Context { get; }

    /// <summary>The CUstream.</summary>
    public nint Handle { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        using var use = Context.Use();
        CudaDriver.DestroyStream(Handle);
    }
}
