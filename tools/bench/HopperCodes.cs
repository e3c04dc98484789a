using System.Buffers.Binary;

namespace Onnx.IntScale.Bench;

/// <summary>
/// MatMulNBits' 4-bit codes in the order that ONNX Runtime's kernels for Hopper read (weight_prepacked=2): 32 k at a time, a warp's
/// pairs of k first, and in each 32-bit word the even ones before the odd ones. ONNX Runtime does not bring weights into this
/// order when it loads a model, but models may be stored in it, so it is its fastest int4 there.
/// </summary>
internal static class HopperCodes
{
    private const int Tile = 32;
    private const int CodesPerWord = 8;

    /// <summary>Says that codes are in this order.</summary>
    public static AttributeProto Attribute => Ops.Attribute("weight_prepacked", 2);

    /// <summary>Whether there are such kernels for a shape.</summary>
    public static bool Suits(MatMulShape shape) => shape is { Bits: 4, BlockSize: 64 or 128 } && shape.K % shape.BlockSize == 0;

    /// <summary>The same weights with their codes in that order.</summary>
    public static WeightSet Of(WeightSet set)
    {
        if (!Suits(set.Shape)) throw new BenchException("the layout for Hopper has 4 bits and whole blocks of 64 or 128");
        var reordered = new WeightSet(set.Shape) { MaxAccumulator = set.MaxAccumulator };
        set.Scales.CopyTo(reordered.Scales, 0);
        set.ChannelScales.CopyTo(reordered.ChannelScales, 0);
        const int TileBytes = Tile / 2;
        Parallel.For(0, set.Shape.N, n =>
        {
            var row = n * set.Shape.RowBytes;
            for (var at = row; at < row + set.Shape.RowBytes; at += TileBytes) Reorder(set.B.AsSpan(at, TileBytes), reordered.B.AsSpan(at, TileBytes));
        });
        return reordered;
    }

    /// <summary>k of the code that stands in this place of a tile.</summary>
    internal static int SourceOf(int place)
    {
        // Places 0..7 of a word are the elements 0 2 4 6 1 3 5 7; element e of word w is k = 8 · (e / 2) + 2 · w + e % 2.
        var (word, nibble) = (place / CodesPerWord, place % CodesPerWord);
        var element = nibble < 4 ? 2 * nibble : (2 * (nibble - 4)) + 1;
        return (8 * (element / 2)) + (2 * word) + (element % 2);
    }

    private static void Reorder(ReadOnlySpan<byte> from, Span<byte> to)
    {
        var (low, high) = (BinaryPrimitives.ReadUInt64LittleEndian(from), BinaryPrimitives.ReadUInt64LittleEndian(from[8..]));
        for (var half = 0; half < 2; half++)
        {
            var word = 0UL;
            for (var i = 0; i < 16; i++)
            {
                var k = SourceOf((half * 16) + i);
                word |= (((k < 16 ? low : high) >> ((k & 15) * 4)) & 0xF) << (i * 4);
            }

            BinaryPrimitives.WriteUInt64LittleEndian(to[(half * 8)..], word);
        }
    }
}
