using System.Runtime.InteropServices;

namespace Onnx.IntScale;

/// <summary>
/// The driver's library and its functions by name. A class by itself, so that it is ready before any part of <see cref="CudaDriver"/>
/// asks for a function.
/// </summary>
internal static class CudaLibrary
{
    private static readonly List<string> Absent = [];
    private static readonly nint Handle =
        NativeLibrary.TryLoad(OperatingSystem.IsWindows() ? "nvcuda.dll" : "libcuda.so.1", out var library) ? library : 0;

    /// <summary>What is wrong with the library, or null; to be asked when all functions have been looked for.</summary>
    public static string? Fault =>
        Handle == 0 ? "there is no NVIDIA driver (libcuda.so.1 or nvcuda.dll) on this machine"
        : Absent.Count > 0 ? $"the NVIDIA driver is too old: it lacks {Absent[0]}; update it to one for CUDA 13.0 or later"
        : null;

    /// <summary>The address of a function, or 0.</summary>
    public static nint Export(string name, bool optional = false)
    {
        if (Handle != 0 && NativeLibrary.TryGetExport(Handle, name, out var address)) return address;
        if (!optional) Absent.Add(name);
        return 0;
    }
}
