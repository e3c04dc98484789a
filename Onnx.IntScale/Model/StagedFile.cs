using Google.Protobuf;

namespace Onnx.IntScale;

/// <summary>One file on its way: written under a name of its own, until <see cref="StagedFiles.Commit"/> gives it the final one.</summary>
internal sealed class StagedFile : IDisposable
{
    private readonly FileStream _stream;

    /// <summary>Opens the partial file, which must not exist.</summary>
    /// <exception cref="ModelException">It cannot be opened.</exception>
    public StagedFile(string partial, string final)
    {
        (Partial, Final) = (partial, final);
        // Without a buffer: closing after a failed write must not try to write once more.
        _stream = Guard(() => new FileStream(partial, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0));
    }

    /// <summary>Where it is written.</summary>
    public string Partial { get; }

    /// <summary>Where it goes.</summary>
    public string Final { get; }

    /// <summary>Bytes written.</summary>
    public long Length { get; private set; }

    /// <summary>Appends bytes.</summary>
    /// <exception cref="ModelException">The disk is full, and the like.</exception>
    public void Write(ReadOnlySpan<byte> bytes)
    {
        try
        {
            _stream.Write(bytes);
        }
        catch (Exception e) when (IsFault(e))
        {
            throw Fault(Final, e);
        }

        Length += bytes.Length;
    }

    /// <summary>Appends a message.</summary>
    /// <exception cref="ModelException">The disk is full, and the like.</exception>
    public void Write(IMessage message) => Guard(() =>
    {
        using var output = new CodedOutputStream(_stream, 1 << 16, leaveOpen: true);
        message.WriteTo(output);
        output.Flush();
        return Length = _stream.Position;
    });

    /// <summary>Waits until all of it is on the disk, unless told not to, and closes it.</summary>
    /// <exception cref="ModelException">The disk is full, and the like.</exception>
    public void Finish(bool flush = true) => Guard(() =>
    {
        if (flush && _stream.CanWrite) _stream.Flush(flushToDisk: true);
        _stream.Dispose();
        return true;
    });

    /// <inheritdoc/>
    public void Dispose() => _stream.Dispose();

    /// <summary>Whether writing failed for a reason that lies with the disk. .NET reports a file past the file system's (or the user's) limit as an argument out of range.</summary>
    public static bool IsFault(Exception e) => e is IOException or UnauthorizedAccessException or ArgumentOutOfRangeException;

    /// <summary>What to tell the user then.</summary>
    public static ModelException Fault(string final, Exception e) => new(
        final, $"cannot be written ({e.Message.Split(" (Parameter", 2)[0].TrimEnd('.')})",
        "check free space and permissions, or choose another output; nothing half-written was left, and what was there before is as it was", e);

    private T Guard<T>(Func<T> action)
    {
        try
        {
            return action();
        }
        catch (Exception e) when (IsFault(e))
        {
            throw Fault(Final, e);
        }
    }
}
