using System.Runtime.InteropServices;

namespace Onnx.IntScale;

/// <summary>Modules, functions and launches.</summary>
internal static unsafe partial class CudaDriver
{
    private const int JitInfoLog = 3;
    private const int JitInfoLogBytes = 4;
    private const int JitErrorLog = 5;
    private const int JitErrorLogBytes = 6;

    private static readonly delegate* unmanaged<nint*, void*, uint, int*, void**, int> ModuleLoadDataEx =
        (delegate* unmanaged<nint*, void*, uint, int*, void**, int>)Export("cuModuleLoadDataEx");

    private static readonly delegate* unmanaged<nint, int> ModuleUnload = (delegate* unmanaged<nint, int>)Export("cuModuleUnload");
    private static readonly delegate* unmanaged<nint*, nint, byte*, int> ModuleGetFunction = (delegate* unmanaged<nint*, nint, byte*, int>)Export("cuModuleGetFunction");
    private static readonly delegate* unmanaged<nint, int> FuncLoad = (delegate* unmanaged<nint, int>)Export("cuFuncLoad", optional: true);
    private static readonly delegate* unmanaged<int*, int, nint, int> FuncGetAttribute = (delegate* unmanaged<int*, int, nint, int>)Export("cuFuncGetAttribute");
    private static readonly delegate* unmanaged<nint, int, int, int> FuncSetAttribute = (delegate* unmanaged<nint, int, int, int>)Export("cuFuncSetAttribute");

    private static readonly delegate* unmanaged<CudaLaunchConfig*, nint, void**, void**, int> LaunchKernelEx =
        (delegate* unmanaged<CudaLaunchConfig*, nint, void**, void**, int>)Export("cuLaunchKernelEx");

    private static readonly delegate* unmanaged<void*, int, uint, void*, ulong*, ulong*, uint*, uint*, int, int, int, int, int> TensorMapEncodeTiled =
        (delegate* unmanaged<void*, int, uint, void*, ulong*, ulong*, uint*, uint*, int, int, int, int, int>)Export("cuTensorMapEncodeTiled", optional: true);

    /// <summary>Loads a cubin, or PTX text that ends in a zero byte, into the current context.</summary>
    /// <param name="image">The bytes.</param>
    /// <param name="name">What they are, for messages.</param>
    public static nint LoadModule(ReadOnlySpan<byte> image, string name)
    {
        const int LogBytes = 8192;
        var log = new byte[LogBytes];
        var info = new byte[LogBytes];
        nint module;
        int result;
        fixed (byte* start = image, errors = log, infos = info)
        {
            // Sizes are passed in the pointers themselves.
            var options = stackalloc int[] { JitErrorLog, JitErrorLogBytes, JitInfoLog, JitInfoLogBytes };
            var values = stackalloc void*[] { errors, (void*)(nint)LogBytes, infos, (void*)(nint)LogBytes };
            result = ModuleLoadDataEx(&module, start, 4, options, values);
        }

        Check(result, () => $"loading {name}{Quoted(log)}");
        return module;
    }

    public static void UnloadModule(nint module) => Check(ModuleUnload(module), "unloading a module");

    /// <summary>A kernel of a module, on the device when this returns: the driver would otherwise load it lazily, which may not happen in a capture.</summary>
    public static nint Function(nint module, string name)
    {
        nint function;
        fixed (byte* text = System.Text.Encoding.UTF8.GetBytes(name + '\0')) Check(ModuleGetFunction(&function, module, text), () => $"finding kernel {name}");
        if (FuncLoad != null) Check(FuncLoad(function), () => $"loading kernel {name}");
        return function;
    }

    public static int Attribute(CudaFunctionAttribute attribute, nint function)
    {
        int value;
        Check(FuncGetAttribute(&value, (int)attribute, function), $"asking for {attribute} of a kernel");
        return value;
    }

    public static void SetAttribute(CudaFunctionAttribute attribute, nint function, int value) =>
        Check(FuncSetAttribute(function, (int)attribute, value), $"setting {attribute} of a kernel");

    /// <summary>Launches a kernel whose parameters lie at <paramref name="first"/> and, where it has two, <paramref name="second"/>; they are copied. Allocates nothing.</summary>
    public static void Launch(CudaLaunchConfig* config, nint function, void* first, void* second)
    {
        var parameters = stackalloc void*[] { first, second };
        var result = LaunchKernelEx(config, function, parameters, null);
        if (result != 0) throw CudaException.Of(result, NameOf(result), "launching a kernel");
    }

    /// <summary>Describes a matrix of bytes, of which kernels copy boxes of 64 rows by 64 bytes in the 64-byte swizzle. Allocates nothing.</summary>
    /// <param name="map">128 bytes, 64-byte aligned.</param>
    /// <param name="matrix">Address, 16-byte aligned.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="rowBytes">Bytes of a row, a multiple of 16.</param>
    public static void Describe(void* map, void* matrix, int rows, int rowBytes)
    {
        const int Bytes = 0;
        const int Swizzle64 = 2;
        const int Promote128 = 2;
        const uint Box = 64;
        if (TensorMapEncodeTiled == null) throw new CudaException("the driver cannot describe tensors (cuTensorMapEncodeTiled is missing); update the NVIDIA driver");
        var sizes = stackalloc ulong[] { (ulong)rowBytes, (ulong)rows };
        var pitch = (ulong)rowBytes;
        var box = stackalloc uint[] { Box, Box };
        var steps = stackalloc uint[] { 1, 1 };
        var result = TensorMapEncodeTiled(map, Bytes, 2, matrix, sizes, &pitch, box, steps, 0, Swizzle64, Promote128, 0);
        if (result != 0) throw CudaException.Of(result, NameOf(result), "describing the codes");
    }

    private static string Quoted(byte[] log)
    {
        var end = Array.IndexOf(log, (byte)0);
        var text = System.Text.Encoding.UTF8.GetString(log, 0, end < 0 ? log.Length : end).Trim().ReplaceLineEndings(" ");
        return text.Length == 0 ? "" : $" [{text}]";
    }
}

/// <summary>CUfunction_attribute, the ones used.</summary>
internal enum CudaFunctionAttribute
{
    MaxThreadsPerBlock = 0,
    SharedSizeBytes = 1,
    LocalSizeBytes = 3,
    NumRegs = 4,
    MaxDynamicSharedSizeBytes = 8,
}

/// <summary>The C struct CUlaunchConfig (56 bytes).</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct CudaLaunchConfig
{
    public uint GridX;
    public uint GridY;
    public uint GridZ;
    public uint BlockX;
    public uint BlockY;
    public uint BlockZ;
    public uint SharedBytes;
    public nint Stream;
    public CudaLaunchAttribute* Attributes;
    public uint AttributeCount;
}

/// <summary>The C struct CUlaunchAttribute (72 bytes): a number, padding to 8 bytes, a union of 64 bytes of which the first ints are used here.</summary>
[StructLayout(LayoutKind.Sequential, Size = 72)]
internal struct CudaLaunchAttribute
{
    public const int ClusterDimension = 4;
    public const int ProgrammaticStreamSerialization = 6;

    public int Id;
    public int Padding;
    public int X;
    public int Y;
    public int Z;

    /// <summary>Blocks x..x + size - 1 of the grid form a cluster.</summary>
    public static CudaLaunchAttribute Cluster(int size) => new() { Id = ClusterDimension, X = size, Y = 1, Z = 1 };

    /// <summary>The kernel may start before the one before it in the stream has ended, and waits for it itself.</summary>
    public static CudaLaunchAttribute StartEarly() => new() { Id = ProgrammaticStreamSerialization, X = 1 };
}
