using System.Numerics;

namespace Onnx.IntScale;

/// <summary>The size and block format of one quantized weight matrix: Y [M, N] = A [M, K] · B [N, K]ᵀ.</summary>
/// <param name="K">Length of a dot product (input features).</param>
/// <param name="N">Number of output channels.</param>
/// <param name="Bits">Bits of a weight code: 4 or 8.</param>
/// <param name="BlockSize">Consecutive k that share one scale: a power of two, 16 to 256.</param>
public readonly record struct MatMulShape(int K, int N, int Bits, int BlockSize)
{
    /// <summary>Blocks of a row, the last one padded: ceil(K / BlockSize), without a division, since kernels ask often.</summary>
    public int KBlocks => (K + BlockSize - 1) >> BitOperations.Log2((uint)BlockSize);

    /// <summary>K rounded up to whole blocks.</summary>
    public int PaddedK => KBlocks * BlockSize;

    /// <summary>
    /// Bytes of one row of int8 activations: PaddedK rounded up to an odd number of <see cref="ActivationOrder.Chunk"/>s. Rows a power of two
    /// apart would fight for the same sets of the cache.
    /// </summary>
    public int ActivationStride => (int)(((uint)(PaddedK + ActivationOrder.Chunk - 1) / ActivationOrder.Chunk) | 1) * ActivationOrder.Chunk;

    /// <summary>Block sums of one row of activations: KBlocks rounded up to a cache line of int16, so that kernels may multiply whole vectors of them.</summary>
    public int BlockSumStride => (KBlocks + 31) & -32;

    /// <summary>Bytes of one block of codes.</summary>
    public int BlockBytes => (BlockSize * Bits) >> 3;

    /// <summary>Bytes of one row of B; rows never share a byte.</summary>
    public int RowBytes => KBlocks * BlockBytes;

    /// <summary>Bytes of one row of zero_points; an odd number of 4-bit ones ends in half a byte.</summary>
    public int ZeroPointRowBytes => ((KBlocks * Bits) + 7) >> 3;

    /// <summary>Zero point where the zero_points input is absent: 2^(bits-1).</summary>
    public int DefaultZeroPoint => 1 << (Bits - 1);

    /// <summary>Says what is wrong with the shape and what to do about it, or null when it is one the operator computes.</summary>
    public string? Fault() => this switch
    {
        { Bits: not (4 or 8) } => $"bits={Bits} is not supported; use 4 or 8",
        { BlockSize: not (16 or 32 or 64 or 128 or 256) } => $"block_size={BlockSize} is not supported; use 16, 32, 64, 128 or 256",
        { K: <= 0 } => $"K={K} must be positive",
        { N: <= 0 } => $"N={N} must be positive",
        _ when (long)N * RowBytes > int.MaxValue * 16L => $"K={K}, N={N} is too large",
        _ => null,
    };
}
