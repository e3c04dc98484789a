using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>
/// Dynamic int8 quantization of one row (token) of A:
/// <code>
/// a_scale[m] = max_k |A[m,k]| / 127
/// a8[m,k]    = round_half_even(A[m,k] * (127 / max_k |A[m,k]|))      in [-127, 127]
/// </code>
/// Two roundings: the product is rounded to float32, then to the nearest even integer.
/// A row that holds a NaN or an infinity gives a_scale = NaN and zeros, so that its whole output is NaN and no other row's is.
/// A row of zeros, or one so small that 127 / max overflows (max below about 3.7e-37), gives a_scale = 0 and zeros.
/// </summary>
public static unsafe class ActivationQuantizer
{
    /// <summary>1.5 · 2^23: adding it to |x| below 2^22 leaves round_half_even(x) in the low mantissa bits.</summary>
    private const float Magic = 12582912f;

    private const int MaxBlock = 256;

    /// <summary>
    /// Quantizes rows m0..m1 of job.A, at most 16 and all of one panel or of none, into job.A8, job.BlockSums and job.AScales; rows past M,
    /// which fill a panel up, become zeros. Vectorized; equal to <see cref="QuantizeRowScalar"/>.
    /// </summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Quantize(in MatMulJob job, int m0, int m1)
    {
        var shape = job.Weights.Shape;
        var inverses = stackalloc float[ActivationOrder.PanelRows];
        for (var m = m0; m < m1; m++)
        {
            (job.AScales[m], inverses[m - m0]) = ScaleOf(m < job.M ? MaxAbs(job, m) : 0);
            Row.Of(job, m).ClearSums(shape);
        }

        if (m0 < job.Plan.PanelRows)
        {
            QuantizePanel(job, m0, inverses);
            return;
        }

        var unit = Unit(shape);
        var codes = stackalloc sbyte[MaxBlock];
        var values = stackalloc float[MaxBlock];
        for (var m = m0; m < m1; m++)
        {
            var row = Row.Of(job, m);
            for (var first = 0; first < shape.ActivationStride; first += unit)
            {
                QuantizeUnit(job, m, first, unit, inverses[m - m0], row, values, codes);
                for (var c = 0; c < unit && first + c < shape.ActivationStride; c += ActivationOrder.Chunk)
                {
                    if (shape.Bits == 8) new ReadOnlySpan<sbyte>(codes + c, ActivationOrder.Chunk).CopyTo(new Span<sbyte>(row.Codes + first + c, ActivationOrder.Chunk));
                    else Deinterleave(codes + c, row.Codes + first + c, ActivationOrder.Chunk);
                }
            }
        }
    }

    /// <summary>
    /// Sixteen rows of a chunk, then the next chunk: every cache line of a panel holds a part of each row, so rows are put together first.
    /// </summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void QuantizePanel(in MatMulJob job, int m0, float* inverses)
    {
        const int Rows = ActivationOrder.PanelRows;
        const int Ints = ActivationOrder.Chunk / 4;
        var shape = job.Weights.Shape;
        var unit = Unit(shape);
        var codes = stackalloc sbyte[MaxBlock];
        var values = stackalloc float[MaxBlock];
        var chunks = stackalloc sbyte[2 * Rows * ActivationOrder.Chunk];
        var panel = Row.Of(job, m0).Codes;
        var laneSums = PanelLaneSums.Suit(job.Weights);
        var sums = job.LaneSums + (m0 / Rows * (long)PanelLaneSums.Stride(shape));
        for (var first = 0; first < shape.ActivationStride; first += unit)
        {
            for (var r = 0; r < Rows; r++)
            {
                QuantizeUnit(job, m0 + r, first, unit, inverses[r], Row.Of(job, m0 + r), values, codes);
                for (var c = 0; c < unit; c += ActivationOrder.Chunk)
                {
                    var chunk = chunks + (c * Rows) + (r * ActivationOrder.Chunk);
                    if (shape.Bits == 8) new ReadOnlySpan<sbyte>(codes + c, ActivationOrder.Chunk).CopyTo(new Span<sbyte>(chunk, ActivationOrder.Chunk));
                    else Deinterleave(codes + c, chunk, ActivationOrder.PanelUnit(shape));
                }
            }

            for (var c = 0; c < unit && first + c < shape.ActivationStride; c += ActivationOrder.Chunk)
            {
                IntMatrix.Transpose((int*)(chunks + (c * Rows)), Ints, Rows, Ints, (int*)(panel + ((first + c) * Rows)), Rows);
                if (laneSums) PanelLaneSums.Fill(panel, first + c, ActivationOrder.Chunk, sums);
            }
        }
    }

    /// <summary>A block of 256 is two chunks, a chunk of 128 up to eight blocks.</summary>
    private static int Unit(MatMulShape shape) => Math.Max(ActivationOrder.Chunk, shape.BlockSize);

    /// <summary>Codes of k = first..first + unit in their order, and the sums of their blocks.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void QuantizeUnit(in MatMulJob job, int m, int first, int unit, float inverse, in Row row, float* values, sbyte* codes)
    {
        var shape = job.Weights.Shape;
        var g = first >> BitOperations.Log2((uint)shape.BlockSize);
        for (var k = first; k < first + unit; k += shape.BlockSize, g++, codes += shape.BlockSize)
        {
            if (inverse != 0 && k < shape.K) *row.Sum(g) = (short)QuantizeBlock(LoadBlock(job, m, g, values), shape.BlockSize, inverse, codes);
            else new Span<sbyte>(codes, shape.BlockSize).Clear();
        }
    }

    /// <summary>The specification: the same, element by element.</summary>
    public static void QuantizeRowScalar(in MatMulJob job, int m)
    {
        var shape = job.Weights.Shape;
        var maxBits = 0;
        for (var k = 0; k < shape.K && m < job.M; k++) maxBits = Math.Max(maxBits, BitConverter.SingleToInt32Bits(Elements.Load(job.Type, job.A, ((long)m * shape.K) + k)) & int.MaxValue);
        var (scale, inverse) = ScaleOf(BitConverter.Int32BitsToSingle(maxBits));
        job.AScales[m] = scale;
        var row = Row.Of(job, m);
        row.ClearSums(shape);
        for (var k = 0; k < shape.ActivationStride; k++)
        {
            var code = 0;
            if (k < shape.K && inverse != 0)
            {
                var product = Elements.Load(job.Type, job.A, ((long)m * shape.K) + k) * inverse;
                code = (int)MathF.Round(product, MidpointRounding.ToEven);
                *row.Sum(k / shape.BlockSize) += (short)code;
            }

            *row.Code(k, shape) = (sbyte)code;
        }

        if (m < job.Plan.PanelRows && PanelLaneSums.Suit(job.Weights))
            PanelLaneSums.FillScalar(row.Codes, m % ActivationOrder.PanelRows, shape, job.LaneSums + (m / ActivationOrder.PanelRows * (long)PanelLaneSums.Stride(shape)));
    }

    /// <summary>Where a row's codes and sums lie, by itself or in a panel.</summary>
    private readonly struct Row(sbyte* codes, short* sums, int lane)
    {
        /// <summary>Row m of a call.</summary>
        public static Row Of(in MatMulJob job, int m)
        {
            var shape = job.Weights.Shape;
            var lane = m < job.Plan.PanelRows ? m % ActivationOrder.PanelRows : -1;
            var first = m - Math.Max(lane, 0);
            return new(job.A8 + ((long)first * shape.ActivationStride), job.BlockSums + ((long)first * shape.BlockSumStride), lane);
        }

        /// <summary>The row, or its panel.</summary>
        public sbyte* Codes => codes;

        public sbyte* Code(int k, MatMulShape shape) =>
            codes + (lane < 0 ? ActivationOrder.PositionOf(k, shape.Bits) : ActivationOrder.PanelPositionOf(k, lane, shape));

        public short* Sum(int g) => sums + (lane < 0 ? g : ActivationOrder.PanelSumPositionOf(g, lane));

        public void ClearSums(MatMulShape shape)
        {
            for (var g = 0; g < shape.BlockSumStride; g++) *Sum(g) = 0;
        }
    }

    /// <summary>a_scale and 127 / max; the inverse is 0 where the row's codes are all zero.</summary>
    private static (float Scale, float Inverse) ScaleOf(float max)
    {
        if (!float.IsFinite(max)) return (float.NaN, 0);
        var inverse = 127f / max;
        return float.IsFinite(inverse) ? (max / 127f, inverse) : (0, 0);
    }

    /// <summary>max_k |A[m,k]|, NaN or infinity where the row holds one: magnitudes are compared as integers, where NaN &gt; ∞ &gt; finite.</summary>
    private static float MaxAbs(in MatMulJob job, int m)
    {
        var k = job.Weights.Shape.K;
        return job.Type switch
        {
            ElementType.Float => BitConverter.Int32BitsToSingle(MaxMagnitude((int*)job.A + ((long)m * k), k)),
            ElementType.Float16 => (float)BitConverter.Int16BitsToHalf(MaxMagnitude((short*)job.A + ((long)m * k), k)),
            _ => Elements.FromBFloat16((ushort)MaxMagnitude((short*)job.A + ((long)m * k), k)),
        };
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int MaxMagnitude(int* bits, int count)
    {
        var i = 0;
        var (max, other) = (Vector256<int>.Zero, Vector256<int>.Zero);
        var magnitude = Vector256.Create(int.MaxValue);
        for (; i <= count - (2 * Vector256<int>.Count); i += 2 * Vector256<int>.Count)
        {
            max = Vector256.Max(max, Vector256.Load(bits + i) & magnitude);
            other = Vector256.Max(other, Vector256.Load(bits + i + Vector256<int>.Count) & magnitude);
        }

        max = Vector256.Max(max, other);
        var result = 0;
        for (var lane = 0; lane < Vector256<int>.Count; lane++) result = Math.Max(result, max[lane]);
        for (; i < count; i++) result = Math.Max(result, bits[i] & int.MaxValue);
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static short MaxMagnitude(short* bits, int count)
    {
        var i = 0;
        var max = Vector256<short>.Zero;
        for (; i <= count - Vector256<short>.Count; i += Vector256<short>.Count)
            max = Vector256.Max(max, Vector256.Load(bits + i) & Vector256.Create(short.MaxValue));
        short result = 0;
        for (var lane = 0; lane < Vector256<short>.Count; lane++) result = Math.Max(result, max[lane]);
        for (; i < count; i++) result = Math.Max(result, (short)(bits[i] & short.MaxValue));
        return result;
    }

    /// <summary>Block g of row m as floats: where they lie, or converted and zero-padded in the buffer.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float* LoadBlock(in MatMulJob job, int m, int g, float* buffer)
    {
        var shape = job.Weights.Shape;
        var first = g * shape.BlockSize;
        var count = Math.Min(shape.BlockSize, shape.K - first);
        var start = ((long)m * shape.K) + first;
        if (job.Type == ElementType.Float && count == shape.BlockSize) return (float*)job.A + start;
        var target = new Span<float>(buffer, count);
        switch (job.Type)
        {
            case ElementType.Float: new ReadOnlySpan<float>((float*)job.A + start, count).CopyTo(target); break;
            case ElementType.Float16: TensorPrimitives.ConvertToSingle(new ReadOnlySpan<Half>((Half*)job.A + start, count), target); break;
            default: Elements.FromBFloat16(new ReadOnlySpan<ushort>((ushort*)job.A + start, count), target); break;
        }

        new Span<float>(buffer + count, shape.BlockSize - count).Clear();
        return buffer;
    }

    /// <summary>Codes of one block (a multiple of 16) in the order of k; returns their sum.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int QuantizeBlock(float* block, int size, float inverse, sbyte* codes)
    {
        var factor = Vector256.Create(inverse);
        var sum = Vector256<int>.Zero;
        var i = 0;
        if (Avx2.IsSupported)
        {
            // Codes fit a byte, so saturating packs keep them; they work on 128-bit lanes, and the last step puts those in order.
            var order = Vector256.Create(0, 4, 1, 5, 2, 6, 3, 7);
            for (; i <= size - 32; i += 32)
            {
                var (c0, c1) = (Round(block + i, factor), Round(block + i + 8, factor));
                var (c2, c3) = (Round(block + i + 16, factor), Round(block + i + 24, factor));
                sum += c0 + c1 + (c2 + c3);
                var packed = Avx2.PackSignedSaturate(Avx2.PackSignedSaturate(c0, c1), Avx2.PackSignedSaturate(c2, c3));
                Avx2.PermuteVar8x32(packed.AsInt32(), order).AsSByte().Store(codes + i);
            }
        }

        for (; i < size; i += 16)
        {
            var (low, high) = (Round(block + i, factor), Round(block + i + 8, factor));
            sum += low + high;
            var words = Vector256.Narrow(low, high);
            Vector128.Narrow(words.GetLower(), words.GetUpper()).Store(codes + i);
        }

        return Vector256.Sum(sum);
    }

    /// <summary>The product must not be fused with the addition: two roundings, as specified.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Round(float* values, Vector256<float> factor) =>
        ((Vector256.Load(values) * factor) + Vector256.Create(Magic)).AsInt32() - Vector256.Create(BitConverter.SingleToInt32Bits(Magic));

    /// <summary>A chunk in the order of k → the even k of each unit, then its odd k.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Deinterleave(sbyte* codes, sbyte* target, int unit)
    {
        var low = Vector128.Create((ushort)0xFF);
        for (var first = 0; first < ActivationOrder.Chunk; first += unit)
        {
            if (unit == 16)
            {
                var both = Vector128.Load((ushort*)(codes + first));
                Vector128.Narrow(both & low, both >>> 8).Store((byte*)(target + first));
                continue;
            }

            for (var i = 0; i < unit / 2; i += 16)
            {
                var x = Vector128.Load((ushort*)(codes + first + (2 * i)));
                var y = Vector128.Load((ushort*)(codes + first + (2 * i) + 16));
                Vector128.Narrow(x & low, y & low).Store((byte*)(target + first + i));
                Vector128.Narrow(x >>> 8, y >>> 8).Store((byte*)(target + first + (unit / 2) + i));
            }
        }
    }
}
