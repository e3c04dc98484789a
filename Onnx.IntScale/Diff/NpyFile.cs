using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;

namespace Onnx.IntScale;

/// <summary>Token ids in NumPy's .npy format (versions 1 to 3): little-endian int32 or int64, C order, any shape, which is flattened.</summary>
public static partial class NpyFile
{
    private const int Alignment = 64;

    private static ReadOnlySpan<byte> Magic => [0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y'];

    /// <summary>Reads a token file.</summary>
    /// <returns>The ids in file order; they may be negative or too large for a model, which only the model's user can tell.</returns>
    /// <exception cref="ModelException">The file is missing, truncated, no .npy file, of another element type or order, or holds an id beyond int32.</exception>
    public static int[] ReadTokens(string path)
    {
        byte[] bytes;
        try
        {
            bytes = File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelException(path, $"cannot read the token file ({e.Message.TrimEnd('.')})", "give a .npy file of token ids", e);
        }

        var (header, data) = Split(path, bytes);
        var (wide, count) = Describe(path, header);
        var needed = count * (wide ? sizeof(long) : sizeof(int));
        if (bytes.Length - data < needed)
            throw new ModelException(
                path, $"holds {bytes.Length - data} bytes of data but its header announces {needed}",
                "the file is truncated; copy it again");
        var content = bytes.AsSpan(data, checked((int)needed));
        return wide ? Narrow(path, MemoryMarshal.Cast<byte, long>(content)) : MemoryMarshal.Cast<byte, int>(content).ToArray();
    }

    /// <summary>Writes ids as a one-dimensional int32 array, format version 1.</summary>
    /// <exception cref="ModelException">The file cannot be written.</exception>
    public static void WriteTokens(string path, ReadOnlySpan<int> tokens)
    {
        var text = $"{{'descr': '<i4', 'fortran_order': False, 'shape': ({tokens.Length.ToString(CultureInfo.InvariantCulture)},), }}";
        var start = Magic.Length + 4;
        var length = (start + text.Length + Alignment) / Alignment * Alignment - start;
        var header = new byte[start + length];
        Magic.CopyTo(header);
        header[Magic.Length] = 1;
        BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(Magic.Length + 2), (ushort)length);
        Encoding.ASCII.GetBytes(text.PadRight(length - 1) + "\n", header.AsSpan(start));
        try
        {
            using var stream = File.Create(path);
            stream.Write(header);
            stream.Write(MemoryMarshal.AsBytes(tokens));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelException(
                path, $"cannot write the token file ({e.Message.TrimEnd('.')})",
                "give a file in a folder that exists and can be written", e);
        }
    }

    /// <summary>The header's text and where the data starts.</summary>
    private static (string Header, int Data) Split(string path, ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < 10 || !bytes.StartsWith(Magic))
            throw new ModelException(path, "is not a .npy file", "save the token ids with numpy.save");
        var version = bytes[Magic.Length];
        if (version is 0 or > 3)
            throw new ModelException(path, $".npy version {version} is not supported", "save the token ids with numpy.save");
        var start = version == 1 ? 10 : 12;
        var length = version == 1 ? BinaryPrimitives.ReadUInt16LittleEndian(bytes[8..]) : bytes.Length < 12 ? uint.MaxValue : BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]);
        if (length > bytes.Length - start) throw new ModelException(path, "its header is truncated", "copy the file again");
        return (Encoding.UTF8.GetString(bytes.Slice(start, (int)length)), start + (int)length);
    }

    /// <summary>Whether elements are int64, and how many there are.</summary>
    private static (bool Wide, long Count) Describe(string path, string header)
    {
        var type = Type().Match(header);
        var order = Order().Match(header);
        var shape = Shape().Match(header);
        if (!type.Success || !order.Success || !shape.Success)
            throw new ModelException(path, "its .npy header is malformed", "save the token ids with numpy.save");
        var descr = type.Groups[1].Value;
        if (descr is not ("<i4" or "<i8"))
            throw new ModelException(
                path, $"holds elements of type '{descr}'; token ids are int32 ('<i4') or int64 ('<i8'), little-endian",
                "convert it with numpy: a.astype('<i4')");
        var count = 1L;
        var longAxes = 0;
        foreach (var part in shape.Groups[1].Value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            if (!int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out var dim) || (count *= dim) > int.MaxValue)
                throw new ModelException(path, $"impossible shape ({shape.Groups[1].Value})", "save the token ids with numpy.save");
            if (dim > 1) longAxes++;
        }

        // One long axis lies the same in memory in either order.
        if (order.Groups[1].Value == "True" && longAxes > 1)
            throw new ModelException(path, "is stored in Fortran order", "save it in C order: numpy.ascontiguousarray(a)");
        return (descr == "<i8", count);
    }

    private static int[] Narrow(string path, ReadOnlySpan<long> ids)
    {
        var tokens = new int[ids.Length];
        for (var i = 0; i < ids.Length; i++)
        {
            tokens[i] = (int)ids[i];
            if (tokens[i] != ids[i])
                throw new ModelException(
                    $"{path}: position {i}", $"{ids[i]} is no token id", "make the token file with the model's tokenizer");
        }

        return tokens;
    }

    [GeneratedRegex(@"'descr'\s*:\s*'([^']*)'")]
    private static partial Regex Type();

    [GeneratedRegex(@"'fortran_order'\s*:\s*(True|False)")]
    private static partial Regex Order();

    [GeneratedRegex(@"'shape'\s*:\s*\(([^)]*)\)")]
    private static partial Regex Shape();
}
