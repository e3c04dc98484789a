using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Onnx.IntScale;

/// <summary>
/// Portable 128-bit vectors (Arm64's NEON, SSE, WebAssembly), lanes along k. Products of a 4-bit code and an activation are at most
/// 15·127 = 1905, so int16 lanes hold sixteen of them before they are widened and scaled. 8-bit products fill int16 and are widened at once.
/// </summary>
public static unsafe class Vector128Kernel
{
    /// <summary>Products that an int16 lane holds: 16 · 1905 = 30480.</summary>
    private const int ProductsPerLane = 16;

    /// <summary>Whether this processor has 128-bit vectors.</summary>
    public static bool IsSupported => Vector128.IsHardwareAccelerated;

    /// <inheritdoc cref="AccumulateTile"/>
    [SkipLocalsInit]
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc)
    {
        var shape = job.Weights.Shape;
        var low = stackalloc short[ZeroPointPlanes.Step];
        var high = stackalloc short[ZeroPointPlanes.Step];
        for (var n = n0; n < n1; n++)
        {
            for (var m = m0; m < m1; m++)
            {
                var a = job.A8 + ((long)m * shape.ActivationStride);
                var sum = Vector128<int>.Zero;
                for (var g = 0; g < shape.KBlocks; g++)
                {
                    var block = job.Weights.Block(n, g);
                    var dot = shape.Bits == 8 ? Bytes(block, a + (g * shape.BlockSize), shape.BlockSize) : Nibbles(block, a, g * shape.BlockBytes, shape.BlockBytes);
                    sum += dot * Vector128.Create((int)job.Weights.ScalesOf(n)[g]);
                }

                acc[((m - m0) * (n1 - n0)) + (n - n0)] = Vector128.Sum(sum) - Owed(job, m, n, low, high);
            }
        }
    }

    /// <summary>A block of 4-bit codes that starts at the given byte of its row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<int> Nibbles(byte* block, sbyte* a, int first, int bytes)
    {
        var nibble = Vector128.Create((byte)0xF);
        var total = Vector128<int>.Zero;
        if (bytes == 8)
        {
            var both = Vector128.Create(Vector64.Load(block), Vector64.Load(block) >>> 4) & nibble;
            var at = a + EvenAt(first);
            return Widen(Products(both, Vector128.Create(Vector64.Load(at), Vector64.Load(at + (ActivationOrder.Chunk / 2)))));
        }

        var sums = Vector128<short>.Zero;
        for (int i = 0, products = 0; i < bytes; i += 16)
        {
            var codes = Vector128.Load(block + i);
            var at = a + EvenAt(first + i);
            sums += Products(codes & nibble, Vector128.Load(at)) + Products(codes >>> 4, Vector128.Load(at + (ActivationOrder.Chunk / 2)));
            products += 4;
            if (products < ProductsPerLane) continue;
            total += Widen(sums);
            (sums, products) = (Vector128<short>.Zero, 0);
        }

        return total + Widen(sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static Vector128<int> Bytes(byte* block, sbyte* a, int size)
    {
        var total = Vector128<int>.Zero;
        for (var i = 0; i < size; i += 16)
        {
            var (u0, u1) = Vector128.Widen(Vector128.Load(block + i));
            var (a0, a1) = Vector128.Widen(Vector128.Load(a + i));
            total += Widen(u0.AsInt16() * a0) + Widen(u1.AsInt16() * a1);
        }

        return total;
    }

    /// <summary>Two products a lane.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<short> Products(Vector128<byte> codes, Vector128<sbyte> activations)
    {
        var (u0, u1) = Vector128.Widen(codes);
        var (a0, a1) = Vector128.Widen(activations);
        return (u0.AsInt16() * a0) + (u1.AsInt16() * a1);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<int> Widen(Vector128<short> sums)
    {
        var (low, high) = Vector128.Widen(sums);
        return low + high;
    }

    /// <summary>Where the even k of a byte of B lie in a row of activations.</summary>
    private static int EvenAt(int b) => ((b >> 6) * ActivationOrder.Chunk) + (b & 63);

    private static int Owed(in MatMulJob job, int m, int n, short* low, short* high)
    {
        var shape = job.Weights.Shape;
        var given = job.Weights.ZeroPoints != null;
        int owedLow = 0, owedHigh = 0;
        for (var g0 = 0; g0 < shape.KBlocks; g0 += ZeroPointPlanes.Step)
        {
            var count = ZeroPointPlanes.Fill(job.Weights, n, g0, low, high);
            var sums = job.BlockSums + ((long)m * shape.BlockSumStride) + g0;
            for (var g = 0; g < count; g++) owedLow += low[g] * sums[g];
            for (var g = 0; given && g < count; g++) owedHigh += high[g] * sums[g];
        }

        return (owedLow << ZeroPointPlanes.LowShift(job.Weights)) + (owedHigh << ZeroPointPlanes.HighShift);
    }
}
