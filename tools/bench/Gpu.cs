namespace Onnx.IntScale.Bench;

/// <summary>The first GPU, as its driver describes it.</summary>
/// <param name="Name">Such as NVIDIA H100 80GB HBM3.</param>
/// <param name="ComputeCapability">Such as 9.0.</param>
/// <param name="Multiprocessors">SMs.</param>
/// <param name="L2Bytes">Size of the L2 cache.</param>
/// <param name="MemoryGib">Device memory.</param>
/// <param name="MaxClockMhz">Highest clock of the SMs.</param>
/// <param name="Cuda">Newest CUDA that the driver knows.</param>
internal sealed record Gpu(string Name, string ComputeCapability, int Multiprocessors, long L2Bytes, double MemoryGib, int MaxClockMhz, string Cuda)
{
    /// <summary>The GPU, or null where there is none.</summary>
    public static Gpu? First()
    {
        if (CudaDriver.Missing != null) return null;
        var device = CudaDriver.Device(0);
        int Attribute(CudaDeviceAttribute which) => CudaDriver.Attribute(which, device);
        return new(
            CudaDriver.DeviceName(device),
            Text.F($"{Attribute(CudaDeviceAttribute.ComputeCapabilityMajor)}.{Attribute(CudaDeviceAttribute.ComputeCapabilityMinor)}"),
            Attribute(CudaDeviceAttribute.MultiprocessorCount), Attribute(CudaDeviceAttribute.L2CacheSize), Math.Round(CudaDriver.TotalMemory(device) / 1073741824.0, 1),
            Attribute(CudaDeviceAttribute.ClockRate) / 1000,
            Text.F($"{CudaDriver.Version / 1000}.{CudaDriver.Version % 1000 / 10}"));
    }

    /// <summary>Memory of the first device in use, by whomever, in bytes; 0 where there is none.</summary>
    public static long UsedBytes()
    {
        if (CudaDriver.Missing != null) return 0;
        CudaDriver.Push(CudaDriver.PrimaryContext(CudaDriver.Device(0)));
        try
        {
            var (free, total) = CudaDriver.MemoryInfo();
            return total - free;
        }
        finally
        {
            CudaDriver.Pop();
        }
    }

    /// <summary>One line of text.</summary>
    public string Describe() => Text.F(
        $"{Name}, compute capability {ComputeCapability}, {Multiprocessors} SMs to {MaxClockMhz} MHz, L2 {L2Bytes >> 20} MiB, {MemoryGib:F1} GiB, driver for CUDA {Cuda}");
}
