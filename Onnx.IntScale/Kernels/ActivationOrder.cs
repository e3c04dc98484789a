namespace Onnx.IntScale;

/// <summary>
/// The order of k in which kernels want the int8 activations. A dot product does not mind a permutation of k, so the activations are
/// permuted, once per row, instead of the weights, which stay in the stored layout: 64 bytes of 4-bit codes hold <see cref="Chunk"/>
/// codes, even k in low nibbles and odd k in high ones, so each chunk holds its 64 even k first, then its 64 odd k.
/// 8-bit codes lie in order and need no permutation.
/// <para>
/// Rows lie one after the other, or in panels of <see cref="PanelRows"/> for kernels whose vector lanes are rows: a panel holds four
/// consecutive (permuted) k of its first row, the same four of the next, and so on: [stride / 4, PanelRows, 4].
/// </para>
/// </summary>
public static class ActivationOrder
{
    /// <summary>Elements that are permuted among themselves.</summary>
    public const int Chunk = 128;

    /// <summary>Rows of a panel: the int32 lanes of a 512-bit vector.</summary>
    public const int PanelRows = 16;

    /// <summary>Where element k of a row lies within the row.</summary>
    public static int PositionOf(int k, int bits) =>
        bits == 8 ? k : (k & ~(Chunk - 1)) + ((k & (Chunk - 1)) >> 1) + ((k & 1) * (Chunk / 2));

    /// <summary>Where position p of row r lies within its panel.</summary>
    public static int PanelPositionOf(int p, int r) => ((p >> 2) * PanelRows * 4) + (r * 4) + (p & 3);
}
