namespace Onnx.IntScale;

/// <summary>Signed codes ↔ MatMulNBits' B: unsigned q = code + 2^(bits-1); for 4 bits element 2i in the low nibble of byte i, 2i+1 in the high one.</summary>
public static class CodePacking
{
    /// <summary>Packs one row of codes [PaddedK] into [RowBytes].</summary>
    public static void Pack(ReadOnlySpan<sbyte> codes, int bits, Span<byte> row)
    {
        if (bits == 8)
        {
            for (var i = 0; i < codes.Length; i++) row[i] = (byte)(codes[i] + 128);
            return;
        }

        for (var i = 0; i < codes.Length / 2; i++) row[i] = (byte)((codes[2 * i] + 8) | ((codes[(2 * i) + 1] + 8) << 4));
    }

    /// <summary>Unpacks one row [RowBytes] into codes [PaddedK].</summary>
    public static void Unpack(ReadOnlySpan<byte> row, int bits, Span<sbyte> codes)
    {
        if (bits == 8)
        {
            for (var i = 0; i < codes.Length; i++) codes[i] = (sbyte)(row[i] - 128);
            return;
        }

        for (var i = 0; i < row.Length; i++)
        {
            codes[2 * i] = (sbyte)((row[i] & 0xF) - 8);
            codes[(2 * i) + 1] = (sbyte)((row[i] >> 4) - 8);
        }
    }
}
