using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>Transposition of int32 matrices, which also are matrices of four bytes.</summary>
internal static unsafe class IntMatrix
{
    /// <summary>target[c, r] = source[r, c], eight by eight where AVX2 is there; strides in elements.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Transpose(int* source, int sourceStride, int rows, int columns, int* target, int targetStride)
    {
        var r = 0;
        for (; Avx2.IsSupported && r <= rows - 8; r += 8)
        {
            var c = 0;
            for (; c <= columns - 8; c += 8) EightByEight(source + ((long)r * sourceStride) + c, sourceStride, target + ((long)c * targetStride) + r, targetStride);
            Plain(source + ((long)r * sourceStride) + c, sourceStride, 8, columns - c, target + ((long)c * targetStride) + r, targetStride);
        }

        Plain(source + ((long)r * sourceStride), sourceStride, rows - r, columns, target + r, targetStride);
    }

    private static void Plain(int* source, int sourceStride, int rows, int columns, int* target, int targetStride)
    {
        for (var r = 0; r < rows; r++)
        {
            for (var c = 0; c < columns; c++) target[((long)c * targetStride) + r] = source[((long)r * sourceStride) + c];
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void EightByEight(int* source, long sourceStride, int* target, long targetStride)
    {
        var (x0, x1, x2, x3) = (Vector256.Load(source), Vector256.Load(source + sourceStride), Vector256.Load(source + (2 * sourceStride)), Vector256.Load(source + (3 * sourceStride)));
        source += 4 * sourceStride;
        var (x4, x5, x6, x7) = (Vector256.Load(source), Vector256.Load(source + sourceStride), Vector256.Load(source + (2 * sourceStride)), Vector256.Load(source + (3 * sourceStride)));
        var (y0, y1) = (Avx2.UnpackLow(x0, x1).AsInt64(), Avx2.UnpackHigh(x0, x1).AsInt64());
        var (y2, y3) = (Avx2.UnpackLow(x2, x3).AsInt64(), Avx2.UnpackHigh(x2, x3).AsInt64());
        var (y4, y5) = (Avx2.UnpackLow(x4, x5).AsInt64(), Avx2.UnpackHigh(x4, x5).AsInt64());
        var (y6, y7) = (Avx2.UnpackLow(x6, x7).AsInt64(), Avx2.UnpackHigh(x6, x7).AsInt64());
        StorePair(Avx2.UnpackLow(y0, y2), Avx2.UnpackLow(y4, y6), target, targetStride);
        StorePair(Avx2.UnpackHigh(y0, y2), Avx2.UnpackHigh(y4, y6), target + targetStride, targetStride);
        StorePair(Avx2.UnpackLow(y1, y3), Avx2.UnpackLow(y5, y7), target + (2 * targetStride), targetStride);
        StorePair(Avx2.UnpackHigh(y1, y3), Avx2.UnpackHigh(y5, y7), target + (3 * targetStride), targetStride);
    }

    /// <summary>Rows c and c + 4 of the target: their first four elements, and their last.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StorePair(Vector256<long> first, Vector256<long> last, int* target, long targetStride)
    {
        Avx2.Permute2x128(first, last, 0x20).AsInt32().Store(target);
        Avx2.Permute2x128(first, last, 0x31).AsInt32().Store(target + (4 * targetStride));
    }
}
