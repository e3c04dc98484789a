using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>
/// AVX2, on the stored layout. With 4-bit codes u (unsigned) and a8 (signed):
/// <code>
/// p16 = vpmaddubsw(u, a8)                 pairs: |p| ≤ 2·15·127 = 3810, so eight of them (block 256) still fit int16
/// acc += vpmaddwd(p16, scales[n,g])       widens to int32 and multiplies by the integer scale in one instruction
/// </code>
/// The zero points are taken off afterwards, Σ_g scales[n,g]·zp[n,g]·blocksum[m,g]; sums that wrap around on the way end up right,
/// since the certificate bounds the final one.
/// </summary>
public static unsafe class Avx2Kernel
{
    /// <summary>Whether this processor has AVX2.</summary>
    public static bool IsSupported => Avx2.IsSupported;

    /// <inheritdoc cref="AccumulateTile"/>
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc)
    {
        var shape = job.Weights.Shape;
        var stride = n1 - n0;
        for (var n = n0; n < n1; n++)
        {
            var column = acc + (n - n0);
            var m = m0;
            if (shape.Bits == 4 && shape.BlockSize >= 64)
            {
                for (; m <= m1 - 4; m += 4, column += 4 * stride) FourRows(job, m, n, column, stride);
            }

            for (; m < m1; m++, column += stride) *column = OneRow(job, m, n);
            ZeroPointCorrection.Apply(job, m0, m1, n, acc + (n - n0), stride);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int OneRow(in MatMulJob job, int m, int n)
    {
        var shape = job.Weights.Shape;
        var a = job.A8 + ((long)m * shape.PaddedK);
        var b = job.Weights.Block(n, 0);
        var scales = job.Weights.ScalesOf(n);
        if (shape.Bits == 8) return Bytes(a, b, scales, shape);
        return shape.BlockSize >= 64 ? Nibbles64(a, b, scales, shape) : NibblesSmall(a, b, scales, shape);
    }

    /// <summary>4 bits, block 64 and more: one vector of B holds 64 codes, even k low, odd k high.</summary>
    private static int Nibbles64(sbyte* a, byte* b, short* scales, MatMulShape shape)
    {
        var mask = Vector256.Create((byte)0xF);
        var acc = Vector256<int>.Zero;
        for (var g = 0; g < shape.KBlocks; g++)
        {
            var p16 = Vector256<short>.Zero;
            for (var i = 0; i < shape.BlockSize; i += 64, a += 64, b += 32)
            {
                var codes = Vector256.Load(b);
                p16 += Avx2.MultiplyAddAdjacent(codes & mask, Vector256.Load(a));
                p16 += Avx2.MultiplyAddAdjacent(codes.AsUInt16().ShiftNibble() & mask, Vector256.Load(a + 32));
            }

            acc += Avx2.MultiplyAddAdjacent(p16, Vector256.Create(scales[g]));
        }

        return Vector256.Sum(acc);
    }

    /// <summary>The same for rows m..m+4, so that codes are unpacked once for the four.</summary>
    private static void FourRows(in MatMulJob job, int m, int n, int* column, int stride)
    {
        var shape = job.Weights.Shape;
        long row = shape.PaddedK;
        var a = job.A8 + (m * row);
        var b = job.Weights.Block(n, 0);
        var scales = job.Weights.ScalesOf(n);
        var mask = Vector256.Create((byte)0xF);
        Vector256<int> acc0 = default, acc1 = default, acc2 = default, acc3 = default;
        for (var g = 0; g < shape.KBlocks; g++)
        {
            Vector256<short> p0 = default, p1 = default, p2 = default, p3 = default;
            for (var i = 0; i < shape.BlockSize; i += 64, a += 64, b += 32)
            {
                var codes = Vector256.Load(b);
                var even = codes & mask;
                var odd = codes.AsUInt16().ShiftNibble() & mask;
                p0 += Avx2.MultiplyAddAdjacent(even, Vector256.Load(a)) + Avx2.MultiplyAddAdjacent(odd, Vector256.Load(a + 32));
                p1 += Avx2.MultiplyAddAdjacent(even, Vector256.Load(a + row)) + Avx2.MultiplyAddAdjacent(odd, Vector256.Load(a + row + 32));
                p2 += Avx2.MultiplyAddAdjacent(even, Vector256.Load(a + (2 * row))) + Avx2.MultiplyAddAdjacent(odd, Vector256.Load(a + (2 * row) + 32));
                p3 += Avx2.MultiplyAddAdjacent(even, Vector256.Load(a + (3 * row))) + Avx2.MultiplyAddAdjacent(odd, Vector256.Load(a + (3 * row) + 32));
            }

            var scale = Vector256.Create(scales[g]);
            acc0 += Avx2.MultiplyAddAdjacent(p0, scale);
            acc1 += Avx2.MultiplyAddAdjacent(p1, scale);
            acc2 += Avx2.MultiplyAddAdjacent(p2, scale);
            acc3 += Avx2.MultiplyAddAdjacent(p3, scale);
        }

        column[0] = Vector256.Sum(acc0);
        column[stride] = Vector256.Sum(acc1);
        column[2 * stride] = Vector256.Sum(acc2);
        column[3 * stride] = Vector256.Sum(acc3);
    }

    /// <summary>4 bits, block 16 or 32: half vectors, a block of 16 unpacked into one.</summary>
    private static int NibblesSmall(sbyte* a, byte* b, short* scales, MatMulShape shape)
    {
        var mask = Vector128.Create((byte)0xF);
        var acc = Vector128<int>.Zero;
        for (var g = 0; g < shape.KBlocks; g++)
        {
            Vector128<short> p16;
            if (shape.BlockSize == 32)
            {
                var codes = Vector128.Load(b);
                p16 = Ssse3.MultiplyAddAdjacent(codes & mask, Vector128.Load(a))
                    + Ssse3.MultiplyAddAdjacent((codes.AsUInt16() >>> 4).AsByte() & mask, Vector128.Load(a + 16));
            }
            else
            {
                var codes = Vector64.Load(b);
                var both = Vector128.Create(codes, (codes.AsUInt16() >>> 4).AsByte()) & mask;
                p16 = Ssse3.MultiplyAddAdjacent(both, Vector128.Load(a));
            }

            acc += Sse2.MultiplyAddAdjacent(p16, Vector128.Create(scales[g]));
            a += shape.BlockSize;
            b += shape.BlockBytes;
        }

        return Vector128.Sum(acc);
    }

    /// <summary>
    /// 8 bits: c = q - 128 as int8, |c| ≤ 128 as the unsigned operand and a8 with c's sign as the signed one: 2·128·127 fits int16.
    /// What remains of the zero point, zp - 128, is left to the correction.
    /// </summary>
    private static int Bytes(sbyte* a, byte* b, short* scales, MatMulShape shape)
    {
        var sum = 0;
        for (var g = 0; g < shape.KBlocks; g++)
        {
            var dot = Vector128<int>.Zero;
            for (var i = 0; i < shape.BlockSize; i += 16, a += 16, b += 16)
            {
                var codes = (Vector128.Load(b) ^ Vector128.Create((byte)0x80)).AsSByte();
                var p16 = Ssse3.MultiplyAddAdjacent(Ssse3.Abs(codes), Ssse3.Sign(Vector128.Load(a), codes));
                dot += Sse2.MultiplyAddAdjacent(p16, Vector128<short>.One);
            }

            sum = unchecked(sum + (scales[g] * Vector128.Sum(dot)));
        }

        return sum;
    }

    private static Vector256<byte> ShiftNibble(this Vector256<ushort> codes) => (codes >>> 4).AsByte();
}
