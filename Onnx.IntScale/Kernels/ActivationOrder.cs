namespace Onnx.IntScale;

/// <summary>
/// The order of k in which kernels want the int8 activations. A dot product does not mind a permutation of k inside a block,
/// so the activations are permuted, once per row, instead of the weights, which stay in the stored layout:
/// a vector of B's bytes gives even k in its low nibbles and odd k in its high ones, so each chunk of
/// <see cref="ChunkOf"/> elements holds its even k first, then its odd k. 8-bit codes lie in order and need no permutation.
/// </summary>
public static class ActivationOrder
{
    /// <summary>Elements that are permuted among themselves: a 32-byte vector of 4-bit codes, or a whole smaller block; 1 for 8 bits.</summary>
    public static int ChunkOf(MatMulShape shape) => shape.Bits == 8 ? 1 : Math.Min(64, shape.BlockSize);

    /// <summary>Where element k (0..PaddedK) of a row lies.</summary>
    public static int PositionOf(int k, int chunk) =>
        chunk == 1 ? k : (k & ~(chunk - 1)) + ((k & (chunk - 1)) >> 1) + ((k & 1) * (chunk >> 1));
}
