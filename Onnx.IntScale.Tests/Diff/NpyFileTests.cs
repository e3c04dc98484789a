using System.Text;

namespace Onnx.IntScale.Tests;

public sealed class NpyFileTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(100000)]
    public void Write_ThenRead_GivesTheSame(int count)
    {
        var tokens = Enumerable.Range(0, count).Select(i => (i * 7919) - 3).ToArray();
        NpyFile.WriteTokens(_folder["t.npy"], tokens);
        Assert.Equal(tokens, NpyFile.ReadTokens(_folder["t.npy"]));
    }

    /// <summary>Byte for byte what numpy.save writes: 128 bytes of header, ended by a newline.</summary>
    [Fact]
    public void Write_IsNumpysFormat()
    {
        NpyFile.WriteTokens(_folder["t.npy"], [258, -1, 3]);
        var header = "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }".PadRight(117) + "\n";
        byte[] expected = [0x93, .. "NUMPY"u8, 1, 0, 118, 0, .. Encoding.ASCII.GetBytes(header), 2, 1, 0, 0, 255, 255, 255, 255, 3, 0, 0, 0];
        Assert.Equal(expected, File.ReadAllBytes(_folder["t.npy"]));
    }

    [Theory]
    [InlineData(1, "<i4", "False", "6,")]
    [InlineData(2, "<i8", "False", "2, 3")]
    [InlineData(3, "<i4", "False", "1, 6")]
    [InlineData(1, "<i8", "True", "6, 1")]
    public void Read_TakesEveryVersionTypeAndShape(int version, string type, string fortran, string shape)
    {
        Save(version, type, fortran, shape, [5, 4, 3, 2, 1, 0]);
        Assert.Equal([5, 4, 3, 2, 1, 0], NpyFile.ReadTokens(_folder["t.npy"]));
    }

    [Theory]
    [InlineData(1, "<f4", "False", "6,", "'<f4'")]
    [InlineData(1, ">i4", "False", "6,", "'>i4'")]
    [InlineData(1, "<i4", "True", "2, 3", "Fortran")]
    [InlineData(1, "<i4", "False", "7,", "holds 24 bytes of data but its header announces 28")]
    [InlineData(1, "<i4", "False", "-6,", "impossible shape")]
    [InlineData(1, "<i4", "False", "99999999, 99999999", "impossible shape")]
    [InlineData(4, "<i4", "False", "6,", "version 4")]
    public void Read_RefusesWhatItWouldMisread(int version, string type, string fortran, string shape, string reason)
    {
        Save(version, type, fortran, shape, [5, 4, 3, 2, 1, 0]);
        Refused(reason);
    }

    [Fact]
    public void Read_IdsBeyondInt32_NamesThePosition()
    {
        Save(1, "<i8", "False", "2,", [1, 1L << 32]);
        Refused("position 1: 4294967296");
    }

    [Fact]
    public void Read_NotNpyOrTruncatedOrMissing()
    {
        Refused("cannot read the token file");
        File.WriteAllText(_folder["t.npy"], "1 2 3 4 5 6 7 8");
        Refused("is not a .npy file");
        File.WriteAllBytes(_folder["t.npy"], [0x93, .. "NUMPY"u8, 1, 0, 118, 0, 1, 2, 3]);
        Refused("header is truncated");
        File.WriteAllBytes(_folder["t.npy"], [0x93, .. "NUMPY"u8, 2, 0, 118, 0]);
        Refused("header is truncated");
        File.WriteAllBytes(_folder["t.npy"], [0x93, .. "NUMPY"u8, 1, 0, 2, 0, .. "{}"u8]);
        Refused("header is malformed");
    }

    [Fact]
    public void Write_WhereItCannot_SaysSo() =>
        Assert.Contains("cannot write", Assert.Throws<ModelException>(() => NpyFile.WriteTokens(_folder["none/t.npy"], [1])).Message, StringComparison.Ordinal);

    private void Refused(string reason)
    {
        var message = Assert.Throws<ModelException>(() => NpyFile.ReadTokens(_folder["t.npy"])).Message;
        Assert.Contains(reason, message, StringComparison.Ordinal);
        Assert.StartsWith(_folder["t.npy"], message, StringComparison.Ordinal);
    }

    private void Save(int version, string type, string fortran, string shape, long[] values)
    {
        var header = Encoding.ASCII.GetBytes($"{{'descr': '{type}', 'fortran_order': {fortran}, 'shape': ({shape}), }}\n");
        using var writer = new BinaryWriter(File.Create(_folder["t.npy"]));
        writer.Write((byte[])[0x93, .. "NUMPY"u8, (byte)version, 0]);
        if (version == 1) writer.Write((ushort)header.Length);
        else writer.Write((uint)header.Length);
        writer.Write(header);
        foreach (var value in values)
        {
            if (type.EndsWith('8')) writer.Write(value);
            else writer.Write((int)value);
        }
    }
}
