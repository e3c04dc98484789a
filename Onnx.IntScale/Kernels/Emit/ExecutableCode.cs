using System.Runtime.InteropServices;
using Iced.Intel;

namespace Onnx.IntScale;

/// <summary>
/// Machine code emitted at run time, for instructions that .NET has no intrinsics for. Its pages are writable while they are filled and
/// executable afterwards, never both; they live as long as the process.
/// </summary>
internal static unsafe partial class ExecutableCode
{
    private const int ReadWrite = 1 | 2;
    private const int ReadExecute = 1 | 4;
    private const int PrivateAnonymous = 2 | 0x20;
    private const int PrivateAnonymousMac = 2 | 0x1000;
    private const uint CommitReserve = 0x3000;
    private const uint PageReadWrite = 4;
    private const uint PageExecuteRead = 0x20;
    private const uint Release = 0x8000;

    /// <summary>Places code in executable memory.</summary>
    /// <returns>Its address, or null where the system forbids executable memory.</returns>
    public static void* Place(Assembler assembler)
    {
        using var code = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(code), 0);
        var bytes = code.ToArray();
        var size = (nuint)(bytes.Length + Environment.SystemPageSize - 1) & ~((nuint)Environment.SystemPageSize - 1);
        try
        {
            return OperatingSystem.IsWindows() ? PlaceWindows(bytes, size) : PlaceUnix(bytes, size);
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            return null;
        }
    }

    private static void* PlaceUnix(byte[] bytes, nuint size)
    {
        var pages = Map(null, size, ReadWrite, OperatingSystem.IsMacOS() ? PrivateAnonymousMac : PrivateAnonymous, -1, 0);
        if ((nint)pages == -1) return null;
        bytes.CopyTo(new Span<byte>(pages, bytes.Length));
        if (Protect(pages, size, ReadExecute) == 0) return pages;
        _ = Unmap(pages, size);
        return null;
    }

    private static void* PlaceWindows(byte[] bytes, nuint size)
    {
        var pages = VirtualAlloc(null, size, CommitReserve, PageReadWrite);
        if (pages == null) return null;
        bytes.CopyTo(new Span<byte>(pages, bytes.Length));
        uint old;
        if (VirtualProtect(pages, size, PageExecuteRead, &old) != 0) return pages;
        _ = VirtualFree(pages, 0, Release);
        return null;
    }

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial void* Map(void* address, nuint length, int protection, int flags, int file, long offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    private static partial int Protect(void* address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(void* address, nuint length);

    [LibraryImport("kernel32")]
    private static partial void* VirtualAlloc(void* address, nuint size, uint type, uint protection);

    [LibraryImport("kernel32")]
    private static partial int VirtualProtect(void* address, nuint size, uint protection, uint* old);

    [LibraryImport("kernel32")]
    private static partial int VirtualFree(void* address, nuint size, uint type);
}
