using System.Collections.Concurrent;

namespace Onnx.IntScale;

/// <summary>
/// A CUDA context, its device and the kernels loaded into it: one object a context, shared by all sessions and threads. Kernels are
/// loaded once, by <see cref="Load"/>, which whoever makes a node calls for all that the node may need: nothing may be loaded
/// while a stream is captured. Contexts outlive every session (ONNX Runtime's are the devices' primary ones), so nothing is unloaded.
/// </summary>
internal sealed class CudaContext
{
    private static readonly ConcurrentDictionary<ulong, CudaContext> Known = [];

    private readonly Lock _gate = new();
    private readonly HashSet<string> _loaded = [];
    private readonly nint[] _functions = new nint[CudaKernels.All.Count];

    private CudaContext(nint handle)
    {
        Handle = handle;
        using var use = Use();
        var device = CudaDriver.CurrentDevice();
        Name = CudaDriver.DeviceName(device);
        Device = DeviceOf(device);
        if (Device.Major < 8)
        {
            throw new CudaException(
                $"{Name} has compute capability {Device.Major}.{Device.Minor}, and the CUDA kernels need 8.0 or later; run the model on the CPU execution provider");
        }
    }

    /// <summary>The CUcontext.</summary>
    public nint Handle { get; }

    /// <summary>What plans depend on.</summary>
    public CudaDevice Device { get; }

    /// <summary>The device's name.</summary>
    public string Name { get; }

    /// <summary>The context to use for memory: the calling thread's where it is one of the same device, else the device's primary one.</summary>
    /// <param name="memory">An address on the device; null, or one that CUDA does not know, for the calling thread's device.</param>
    /// <exception cref="CudaException">There is no CUDA here, or the device is too old.</exception>
    public static unsafe CudaContext For(void* memory)
    {
        CudaDriver.Require();
        var current = CudaDriver.CurrentContext();
        var ordinal = memory == null ? null : CudaDriver.DeviceOf(memory);
        if (current != 0 && (ordinal is not { } wanted || CudaDriver.CurrentDevice() == CudaDriver.Device(wanted))) return Of(current);
        return OfDevice(ordinal ?? 0);
    }

    /// <summary>The primary context of a device.</summary>
    /// <exception cref="CudaException">There is no CUDA here, no such device, or it is too old.</exception>
    public static CudaContext OfDevice(int ordinal)
    {
        CudaDriver.Require();
        return Of(CudaDriver.PrimaryContext(CudaDriver.Device(ordinal)));
    }

    /// <summary>What plans depend on of a CUdevice.</summary>
    public static CudaDevice DeviceOf(int device) => new(
        CudaDriver.Attribute(CudaDeviceAttribute.ComputeCapabilityMajor, device),
        CudaDriver.Attribute(CudaDeviceAttribute.ComputeCapabilityMinor, device),
        CudaDriver.Attribute(CudaDeviceAttribute.MultiprocessorCount, device),
        CudaDriver.Attribute(CudaDeviceAttribute.MaxSharedMemoryPerBlockOptin, device));

    /// <summary>Makes the context the calling thread's until disposed, where it is not already.</summary>
    public Scope Use()
    {
        if (CudaDriver.CurrentContext() == Handle) return default;
        CudaDriver.Push(Handle);
        return new Scope(pushed: true);
    }

    /// <summary>Loads the kernels of modules that are not loaded yet.</summary>
    /// <exception cref="CudaException">A module is absent or the driver refuses it.</exception>
    public void Load(params IEnumerable<string> modules)
    {
        using var use = Use();
        lock (_gate)
        {
            foreach (var module in modules)
            {
                if (_loaded.Contains(module)) continue;
                CudaModules.Load(module, Device, _functions);
                _loaded.Add(module);
            }
        }
    }

    /// <summary>The CUfunction of a kernel whose module is loaded.</summary>
    /// <param name="kernel"><see cref="CudaKernel.Id"/>.</param>
    public nint Function(int kernel)
    {
        var function = _functions[kernel];
        return function != 0 ? function : throw new CudaException($"kernel {CudaKernels.All[kernel].Name} is not loaded; it should have been when the node was made");
    }

    private static CudaContext Of(nint handle) => Known.GetOrAdd(CudaDriver.ContextId(handle), static (_, handle) => new CudaContext(handle), handle);

    /// <summary>The time during which a context is the calling thread's.</summary>
    internal readonly ref struct Scope(bool pushed)
    {
        public void Dispose()
        {
            if (pushed) CudaDriver.Pop();
        }
    }
}
