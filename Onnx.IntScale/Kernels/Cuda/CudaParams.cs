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

    /// <summary>A call with these weights; A, Y, bias and scratch are still to be filled in.</summary>
    public static CudaParams Of(in WeightView weights, int m, ElementType type) => new()
    {
        B = weights.B,
        Scales = weights.Scales,
        ChannelScales = weights.ChannelScales,
        ZeroPoints = weights.ZeroPoints,
        M = m,
        N = weights.Shape.N,
        K = weights.Shape.K,
        KBlocks = weights.Shape.KBlocks,
        BlockSize = weights.Shape.BlockSize,
        Bits = weights.Shape.Bits,
        Type = (int)type,
    };
}
