using System.Runtime.InteropServices;

namespace Onnx.IntScale.Tests;

/// <summary>Memory that ends where, on Linux, a page begins that nobody may touch: a kernel that reads or writes past an array's end dies.</summary>
public sealed unsafe partial class GuardedBlock : IDisposable
{
    private const int ReadWrite = 1 | 2;
    private const int PrivateAnonymous = 2 | 0x20;

    private readonly void* _pages;
    private readonly nuint _size;

    /// <summary>So many bytes; only as aligned as their number is.</summary>
    public GuardedBlock(int count)
    {
        if (!OperatingSystem.IsLinux())
        {
            _pages = NativeMemory.AlignedAlloc((nuint)count + 1, 64);
            Start = (byte*)_pages;
            return;
        }

        var page = (nuint)Environment.SystemPageSize;
        var used = ((nuint)count + page - 1) / page * page;
        _size = used + page;
        _pages = Map(null, _size, ReadWrite, PrivateAnonymous, -1, 0);
        if ((nint)_pages == -1 || Protect((byte*)_pages + used, page, 0) != 0) throw new InvalidOperationException("no memory to guard");
        Start = (byte*)_pages + used - count;
    }

    /// <summary>The first byte.</summary>
    public byte* Start { get; }

    public void Dispose()
    {
        if (OperatingSystem.IsLinux()) _ = Unmap(_pages, _size);
        else NativeMemory.AlignedFree(_pages);
    }

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial void* Map(void* address, nuint length, int protection, int flags, int file, long offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    private static partial int Protect(void* address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(void* address, nuint length);
}
