using System.Runtime.InteropServices;

namespace Onnx.IntScale;

/// <summary>The raw bytes of one tensor in native memory: any length, 64-byte aligned, freed when disposed.</summary>
public sealed unsafe class TensorBuffer : IDisposable
{
    private byte* _data;

    /// <summary>Allocates uninitialized memory.</summary>
    public TensorBuffer(long length)
    {
        Length = length;
        _data = (byte*)NativeMemory.AlignedAlloc((nuint)Math.Max(length, 1), 64);
    }

    /// <summary>Frees what was not disposed.</summary>
    ~TensorBuffer() => Free();

    /// <summary>Bytes.</summary>
    public long Length { get; }

    /// <summary>First byte.</summary>
    public byte* Data => _data != null ? _data : throw new ObjectDisposedException(nameof(TensorBuffer));

    /// <summary>A part of at most 2 GiB as a span.</summary>
    public Span<byte> Slice(long start, int length) =>
        start >= 0 && start + length <= Length ? new Span<byte>(Data + start, length) : throw new ArgumentOutOfRangeException(nameof(start));

    /// <inheritdoc/>
    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        NativeMemory.AlignedFree(_data);
        _data = null;
    }
}
