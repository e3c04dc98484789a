using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace Onnx.IntScale.Bench;

/// <summary>The first GPU, as its driver describes it.</summary>
/// <param name="Name">Such as NVIDIA H100 80GB HBM3.</param>
/// <param name="ComputeCapability">Such as 9.0.</param>
/// <param name="Multiprocessors">SMs.</param>
/// <param name="L2Bytes">Size of the L2 cache.</param>
/// <param name="MemoryGib">Device memory.</param>
/// <param name="MaxClockMhz">Highest clock of the SMs.</param>
/// <param name="Cuda">Newest CUDA that the driver knows.</param>
internal sealed unsafe record Gpu(string Name, string ComputeCapability, int Multiprocessors, long L2Bytes, double MemoryGib, int MaxClockMhz, string Cuda)
{
    // CUdevice_attribute.
    private const int ClockRateKhz = 13;
    private const int MultiprocessorCount = 16;
    private const int L2CacheSize = 38;
    private const int CapabilityMajor = 75;
    private const int CapabilityMinor = 76;

    private static readonly Lazy<nint> Driver = new(() =>
    {
        foreach (var name in new[] { "libcuda.so.1", "nvcuda.dll" })
        {
            if (NativeLibrary.TryLoad(name, out var library) && ((delegate* unmanaged<uint, int>)NativeLibrary.GetExport(library, "cuInit"))(0) == 0) return library;
        }

        return 0;
    });

    /// <summary>The GPU, or null where there is none.</summary>
    public static Gpu? First()
    {
        if (Driver.Value == 0) return null;
        int device, version;
        nuint bytes;
        if (((delegate* unmanaged<int*, int, int>)Function("cuDeviceGet"))(&device, 0) != 0) return null;
        var name = stackalloc byte[256];
        ((delegate* unmanaged<byte*, int, int, int>)Function("cuDeviceGetName"))(name, 256, device);
        ((delegate* unmanaged<nuint*, int, int>)Function("cuDeviceTotalMem_v2"))(&bytes, device);
        ((delegate* unmanaged<int*, int>)Function("cuDriverGetVersion"))(&version);
        return new(
            Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(name)),
            Invariant($"{Attribute(device, CapabilityMajor)}.{Attribute(device, CapabilityMinor)}"),
            Attribute(device, MultiprocessorCount), Attribute(device, L2CacheSize), Math.Round(bytes / 1073741824.0, 1), Attribute(device, ClockRateKhz) / 1000,
            Invariant($"{version / 1000}.{version % 1000 / 10}"));
    }

    /// <summary>Device memory in use, by whomever, in bytes; 0 where that cannot be told. Wants a context, as a session with the CUDA provider makes.</summary>
    public static long UsedBytes()
    {
        if (Driver.Value == 0) return 0;
        int device;
        nint context;
        nuint free, total;
        if (((delegate* unmanaged<int*, int, int>)Function("cuDeviceGet"))(&device, 0) != 0) return 0;
        if (((delegate* unmanaged<nint*, int, int>)Function("cuDevicePrimaryCtxRetain"))(&context, device) != 0) return 0;
        ((delegate* unmanaged<nint, int>)Function("cuCtxPushCurrent_v2"))(context);
        var told = ((delegate* unmanaged<nuint*, nuint*, int>)Function("cuMemGetInfo_v2"))(&free, &total) == 0;
        ((delegate* unmanaged<nint*, int>)Function("cuCtxPopCurrent_v2"))(&context);
        ((delegate* unmanaged<int, int>)Function("cuDevicePrimaryCtxRelease_v2"))(device);
        return told ? (long)(total - free) : 0;
    }

    /// <summary>One line of text.</summary>
    public string Describe() =>
        Invariant($"{Name}, compute capability {ComputeCapability}, {Multiprocessors} SMs to {MaxClockMhz} MHz, L2 {L2Bytes >> 20} MiB, {MemoryGib:F1} GiB, driver for CUDA {Cuda}");

    private static int Attribute(int device, int which)
    {
        int value;
        return ((delegate* unmanaged<int*, int, int, int>)Function("cuDeviceGetAttribute"))(&value, which, device) == 0 ? value : 0;
    }

    private static nint Function(string name) => NativeLibrary.GetExport(Driver.Value, name);

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
