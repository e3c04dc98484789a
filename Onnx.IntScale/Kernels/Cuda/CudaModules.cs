namespace Onnx.IntScale;

/// <summary>
/// The compiled kernels, which are resources of this library (Compiled/, made by tools/cuda/build.sh): machine code for sm_90a (H100,
/// H200), and PTX for compute_80, which the driver compiles for any other GPU, newer ones included, and keeps in its cache.
/// </summary>
internal static class CudaModules
{
    /// <summary>Shared memory that a block gets without asking.</summary>
    private const int DefaultSharedBytes = 48 * 1024;

    /// <summary>Loads a module into the current context and stores its functions at their kernels' places.</summary>
    /// <exception cref="CudaException">It is absent, or the driver refuses it.</exception>
    public static void Load(string module, in CudaDevice device, nint[] functions)
    {
        var (name, image) = Image(module, device);
        var handle = CudaDriver.LoadModule(image, name);
        var loaded = new List<(int Id, nint Function)>();
        try
        {
            foreach (var kernel in CudaKernels.All)
            {
                if (kernel.Module == module) loaded.Add((kernel.Id, Prepare(CudaDriver.Function(handle, kernel.Name), device)));
            }
        }
        catch (CudaException)
        {
            CudaDriver.UnloadModule(handle);
            throw;
        }

        foreach (var (id, function) in loaded) functions[id] = function;
    }

    /// <summary>The name and bytes of what a device runs of a module; PTX ends in a zero byte.</summary>
    /// <exception cref="CudaException">There is none.</exception>
    public static (string Name, byte[] Bytes) Image(string module, in CudaDevice device)
    {
        // sm_90a is of 9.0 alone, neither upward nor downward compatible. Plans for 9.0 start its code early, which PTX would not wait for.
        var name = device is { Major: 9, Minor: 0 } && module != "mma" ? $"{module}.sm_90a.cubin" : $"{module}.compute_80.ptx";
        return Resource(name, name.EndsWith(".ptx", StringComparison.Ordinal) ? 1 : 0)
            ?? throw new CudaException($"this library has no kernels {module} for compute capability {device.Major}.{device.Minor}; run tools/cuda/build.sh and build it again");
    }

    private static (string Name, byte[] Bytes)? Resource(string name, int zeros)
    {
        using var stream = typeof(CudaModules).Assembly.GetManifestResourceStream(name);
        if (stream == null) return null;
        var bytes = new byte[(int)stream.Length + zeros];
        stream.ReadExactly(bytes, 0, (int)stream.Length);
        return (name, bytes);
    }

    /// <summary>Lets launches of a kernel ask for as much shared memory as the device has.</summary>
    private static nint Prepare(nint function, in CudaDevice device)
    {
        var most = device.SharedBytesPerBlock - CudaDriver.Attribute(CudaFunctionAttribute.SharedSizeBytes, function);
        if (most > DefaultSharedBytes) CudaDriver.SetAttribute(CudaFunctionAttribute.MaxDynamicSharedSizeBytes, function, most);
        return function;
    }
}
