using System.Runtime.InteropServices;

namespace Onnx.IntScale;

/// <summary>
/// The functions of the CUDA driver API that are used here. The library comes with the NVIDIA driver, so it is looked for at run time:
/// where it is absent nothing fails, <see cref="Missing"/> says why, and nothing else here may be called.
/// Handles (CUcontext, CUmodule, CUfunction, CUstream, CUevent) and device addresses are nint; a result other than success is thrown.
/// </summary>
internal static unsafe partial class CudaDriver
{
    private const int OldestVersion = 13000;

    // A Lazy, since the functions of this class' other files may be looked for after this line.
    private static readonly Lazy<string?> Started = new(Start);

    private static readonly delegate* unmanaged<uint, int> Init = (delegate* unmanaged<uint, int>)Export("cuInit");
    private static readonly delegate* unmanaged<int, byte**, int> GetErrorName = (delegate* unmanaged<int, byte**, int>)Export("cuGetErrorName");
    private static readonly delegate* unmanaged<int, byte**, int> GetErrorString = (delegate* unmanaged<int, byte**, int>)Export("cuGetErrorString");
    private static readonly delegate* unmanaged<int*, int> DriverGetVersion = (delegate* unmanaged<int*, int>)Export("cuDriverGetVersion");
    private static readonly delegate* unmanaged<int*, int> DeviceGetCount = (delegate* unmanaged<int*, int>)Export("cuDeviceGetCount");
    private static readonly delegate* unmanaged<int*, int, int> DeviceGet = (delegate* unmanaged<int*, int, int>)Export("cuDeviceGet");
    private static readonly delegate* unmanaged<byte*, int, int, int> DeviceGetName = (delegate* unmanaged<byte*, int, int, int>)Export("cuDeviceGetName");
    private static readonly delegate* unmanaged<int*, int, int, int> DeviceGetAttribute = (delegate* unmanaged<int*, int, int, int>)Export("cuDeviceGetAttribute");
    private static readonly delegate* unmanaged<nuint*, int, int> DeviceTotalMem = (delegate* unmanaged<nuint*, int, int>)Export("cuDeviceTotalMem_v2");
    private static readonly delegate* unmanaged<nint*, int, int> DevicePrimaryCtxRetain = (delegate* unmanaged<nint*, int, int>)Export("cuDevicePrimaryCtxRetain");
    private static readonly delegate* unmanaged<nint*, int> CtxGetCurrent = (delegate* unmanaged<nint*, int>)Export("cuCtxGetCurrent");
    private static readonly delegate* unmanaged<int*, int> CtxGetDevice = (delegate* unmanaged<int*, int>)Export("cuCtxGetDevice");
    private static readonly delegate* unmanaged<nint, ulong*, int> CtxGetId = (delegate* unmanaged<nint, ulong*, int>)Export("cuCtxGetId", optional: true);
    private static readonly delegate* unmanaged<nint, int> CtxPushCurrent = (delegate* unmanaged<nint, int>)Export("cuCtxPushCurrent_v2");
    private static readonly delegate* unmanaged<nint*, int> CtxPopCurrent = (delegate* unmanaged<nint*, int>)Export("cuCtxPopCurrent_v2");

    /// <summary>Why there is no CUDA here, or null where there is: a driver, new enough, and a device.</summary>
    public static string? Missing => Started.Value;

    /// <summary>The CUDA version that the driver is made for: 13000 is 13.0.</summary>
    public static int Version
    {
        get
        {
            int version;
            Check(DriverGetVersion(&version), "asking for the driver's version");
            return version;
        }
    }

    /// <summary>Number of devices; 0 where there is no driver.</summary>
    public static int DeviceCount
    {
        get
        {
            if (Missing != null) return 0;
            int count;
            Check(DeviceGetCount(&count), "counting the devices");
            return count;
        }
    }

    /// <summary>Throws where there is no CUDA.</summary>
    /// <exception cref="CudaException">There is none; the message says why.</exception>
    public static void Require()
    {
        if (Missing != null) throw new CudaException($"CUDA cannot be used: {Missing}");
    }

    /// <summary>The device of an ordinal.</summary>
    public static int Device(int ordinal)
    {
        int device;
        Check(DeviceGet(&device, ordinal), $"getting device {ordinal}");
        return device;
    }

    public static string DeviceName(int device)
    {
        const int Length = 256;
        var name = stackalloc byte[Length];
        Check(DeviceGetName(name, Length, device), "asking for a device's name");
        return Text(name);
    }

    public static int Attribute(CudaDeviceAttribute attribute, int device)
    {
        int value;
        Check(DeviceGetAttribute(&value, (int)attribute, device), $"asking for {attribute} of a device");
        return value;
    }

    /// <summary>Bytes of memory that a device has.</summary>
    public static long TotalMemory(int device)
    {
        nuint bytes;
        Check(DeviceTotalMem(&bytes, device), "asking for a device's memory");
        return (long)bytes;
    }

    /// <summary>The context of a device that every user of CUDA's runtime API shares, kept from here on.</summary>
    public static nint PrimaryContext(int device)
    {
        nint context;
        Check(DevicePrimaryCtxRetain(&context, device), "making a device's context");
        return context;
    }

    /// <summary>The calling thread's context, or 0.</summary>
    public static nint CurrentContext()
    {
        nint context;
        Check(CtxGetCurrent(&context), "asking for the current context");
        return context;
    }

    /// <summary>The device of the calling thread's context, which must have one.</summary>
    public static int CurrentDevice()
    {
        int device;
        Check(CtxGetDevice(&device), "asking for the current device");
        return device;
    }

    /// <summary>A number that no other context of the process ever has; its handle with drivers before CUDA 12.</summary>
    public static ulong ContextId(nint context)
    {
        ulong id = (ulong)context;
        if (CtxGetId != null) Check(CtxGetId(context, &id), "asking for a context's number");
        return id;
    }

    public static void Push(nint context) => Check(CtxPushCurrent(context), "making a context current");

    public static void Pop()
    {
        nint context;
        Check(CtxPopCurrent(&context), "leaving a context");
    }

    /// <summary>Throws what a result says.</summary>
    /// <param name="result">A CUresult.</param>
    /// <param name="doing">What was being done, for the message.</param>
    /// <exception cref="CudaException">The result is not success.</exception>
    public static void Check(int result, string doing)
    {
        if (result != 0) throw CudaException.Of(result, NameOf(result), doing);
    }

    /// <summary>Throws what a result says; the message is put together only then.</summary>
    public static void Check(int result, Func<string> doing)
    {
        if (result != 0) throw CudaException.Of(result, NameOf(result), doing());
    }

    private static string NameOf(int result)
    {
        byte* name = null, text = null;
        _ = GetErrorName(result, &name);
        _ = GetErrorString(result, &text);
        return name == null ? $"error {result}" : $"{Text(name)}, {Text(text)}";
    }

    private static string Text(byte* text) => Marshal.PtrToStringUTF8((nint)text) ?? "";

    private static nint Export(string name, bool optional = false) => CudaLibrary.Export(name, optional);

    private static string? Start()
    {
        if (CudaLibrary.Fault is { } fault) return fault;
        var result = Init(0);
        if (result == 0 && Version < OldestVersion) return $"the NVIDIA driver is for CUDA {Version / 1000}.{Version % 1000 / 10}, and the kernels need one for 13.0; update it";
        if (result != 0) return $"the NVIDIA driver does not start: {NameOf(result)}";
        int count;
        result = DeviceGetCount(&count);
        if (result != 0) return $"the NVIDIA driver does not tell its devices: {NameOf(result)}";
        return count == 0 ? "the NVIDIA driver has no device" : null;
    }
}

/// <summary>CUdevice_attribute, the ones used.</summary>
internal enum CudaDeviceAttribute
{
    MultiprocessorCount = 16,
    L2CacheSize = 38,
    ClockRate = 13,
    MemoryClockRate = 36,
    GlobalMemoryBusWidth = 37,
    ComputeCapabilityMajor = 75,
    ComputeCapabilityMinor = 76,
    MaxSharedMemoryPerBlockOptin = 97,
}
