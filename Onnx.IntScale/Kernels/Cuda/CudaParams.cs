using System.Runtime.InteropServices;

namespace Onnx.IntScale;

/// <summary>The one parameter of every kernel, by value: struct Params of intscale.cuh (104 bytes). Pointers are addresses on the device.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct CudaParams
{
    /// <summary>Activations, T [M, K].</summary>
    public void* A;

    /// <summary>Codes [N, KBlocks, BlockBytes].</summary>
    public void* B;

    /// <summary>Integer group scales, int16 [N, KBlocks].</summary>
    public void* Scales;

    /// <summary>Units of the integers, float [N].</summary>
    public void* ChannelScales;

    /// <summary>Zero points [N, ZeroPointRowBytes], or null.</summary>
    public void* ZeroPoints;

    /// <summary>Bias, T [N], or null.</summary>
    public void* Bias;

    /// <summary>Output, T [M, N].</summary>
    public void* Y;

    /// <summary>Scratch: quantized activations, in the order that the matmul kernel wants, 1024-byte aligned.</summary>
    public void* A8;

    /// <summary>Scratch: a_scale of each row, float [M], 256-byte aligned.</summary>
    public void* AScales;

    public int M;
    public int N;
    public int K;
    public int KBlocks;
    public int BlockSize;
    public int Bits;

    /// <summary>T, an <see cref="ElementType"/>.</summary>
    public int Type;

    /// <summary>Rows that A8 has room for: M rounded up to whole tiles.</summary>
    public int A8Rows;

    /// <summary>Sizes and type of a call; pointers are still to be filled in.</summary>
    public static CudaParams Of(MatMulShape shape, int m, ElementType type) => new()
    {
        M = m,
        N = shape.N,
        K = shape.K,
        KBlocks = shape.KBlocks,
        BlockSize = shape.BlockSize,
        Bits = shape.Bits,
        Type = (int)type,
    };
}
