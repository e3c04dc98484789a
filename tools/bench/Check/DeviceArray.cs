namespace Onnx.IntScale.Bench;

/// <summary>An allocation on the device of the current context, exactly as long as its contents, so that compute-sanitizer sees reads past the end.</summary>
internal sealed unsafe class DeviceArray : IDisposable
{
    /// <summary>Allocates memory.</summary>
    public DeviceArray(long bytes)
    {
        Bytes = bytes;
        Address = CudaDriver.Alloc(bytes);
    }

    public nint Address { get; }

    public void* Pointer => (void*)Address;

    public long Bytes { get; }

    /// <summary>A copy of a host array, or null of null.</summary>
    public static DeviceArray? Of(TensorBuffer? host)
    {
        if (host == null) return null;
        var array = new DeviceArray(host.Length);
        CudaDriver.CopyToDevice(array.Address, host.Data, host.Length);
        return array;
    }

    /// <summary>The contents.</summary>
    public byte[] ToHost()
    {
        var bytes = new byte[Bytes];
        fixed (byte* target = bytes) CudaDriver.CopyToHost(target, Address, Bytes);
        return bytes;
    }

    /// <inheritdoc/>
    public void Dispose() => CudaDriver.Free(Address);
}
