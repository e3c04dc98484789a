namespace Onnx.IntScale;

/// <summary>
/// The order of k in which kernels want the int8 activations. A dot product does not mind a permutation of k, so the activations are
/// permuted, once per row, instead of the weights, which stay in the stored layout: a byte of 4-bit codes holds an even k in its low nibble
/// and the next, odd, k in its high one, so a vector of them unpacks to even k and odd k apart. 8-bit codes lie in order and need no permutation.
/// <para>
/// Rows lie one after the other, each <see cref="Chunk"/> as its 64 even k, then its 64 odd k; or in panels of <see cref="PanelRows"/> for
/// kernels whose vector lanes are rows: a panel holds four consecutive (permuted) k of its first row, the same four of the next, and so on:
/// [stride / 4, PanelRows, 4]. In a panel a block smaller than a chunk stays together, its even k, then its odd k, so that one scale serves
/// consecutive k.
/// </para>
/// </summary>
public static class ActivationOrder
{
    /// <summary>Elements that are permuted among themselves.</summary>
    public const int Chunk = 128;

    /// <summary>Rows of a panel: the int32 lanes of a 512-bit vector.</summary>
    public const int PanelRows = 16;

    /// <summary>Elements of a panel's row that are permuted among themselves.</summary>
    public static int PanelUnit(MatMulShape shape) => Math.Min(shape.BlockSize, Chunk);

    /// <summary>Where element k of a row lies within the row.</summary>
    public static int PositionOf(int k, int bits) => bits == 8 ? k : EvenThenOdd(k, Chunk);

    /// <summary>Where element k of row r lies within its panel.</summary>
    public static int PanelPositionOf(int k, int r, MatMulShape shape)
    {
        var p = shape.Bits == 8 ? k : EvenThenOdd(k, PanelUnit(shape));
        return ((p >> 2) * PanelRows * 4) + (r * 4) + (p & 3);
    }

    /// <summary>Where the sum of block g of row r lies within its panel: pairs of blocks, [stride / 2, PanelRows, 2].</summary>
    public static int PanelSumPositionOf(int g, int r) => ((((g >> 1) * PanelRows) + r) * 2) + (g & 1);

    private static int EvenThenOdd(int k, int unit) => (k & -unit) + ((k & (unit - 1)) >> 1) + ((k & 1) * (unit / 2));
}
