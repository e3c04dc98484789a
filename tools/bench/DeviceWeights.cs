namespace Onnx.IntScale.Bench;

/// <summary>One weight set on the device, its scales in both forms.</summary>
internal sealed unsafe class DeviceWeights(WeightSet set) : IDisposable
{
    private readonly DeviceArray _b = Copy<byte>(set.B);
    private readonly DeviceArray _integers = Copy<short>(set.Scales);
    private readonly DeviceArray _halves = Copy<Half>(Array.ConvertAll(set.Scales, s => (Half)s));
    private readonly DeviceArray _channelScales = Copy<float>(set.ChannelScales);

    /// <summary>K, N, bits, block_size.</summary>
    public MatMulShape Shape => set.Shape;

    /// <summary>As kernels want them.</summary>
    public WeightView View(bool floatScales) => new(
        set.Shape, (byte*)_b.Pointer, (short*)(floatScales ? _halves : _integers).Pointer, (float*)_channelScales.Pointer, null);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var array in new[] { _b, _integers, _halves, _channelScales }) array.Dispose();
    }

    private static DeviceArray Copy<T>(T[] values)
        where T : unmanaged
    {
        var array = new DeviceArray((long)values.Length * sizeof(T));
        fixed (T* source = values) CudaDriver.CopyToDevice(array.Address, source, array.Bytes);
        return array;
    }
}
