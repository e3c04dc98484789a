using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>
/// -8 · what each int16 lane of a kernel that adds up vpmaddubsw gets of a panel in 64 k: for a row, the sum over k = 0, 1 mod 4 and the sum
/// over k = 2, 3 mod 4 (in the panel's order). Sums of products that begin with it are those of q - 8. [panels, ActivationStride / 64, 16 rows, 2].
/// </summary>
internal static unsafe class PanelLaneSums
{
    /// <summary>int16 lanes of a vector: two for each of 16 rows.</summary>
    public const int Lanes = 32;

    /// <summary>k of a sum.</summary>
    public const int Group = 64;

    /// <summary>Whether a matrix' codes can go that way, on this processor: 4 bits less 8, and no scale for fewer than 64 k.</summary>
    public static bool Suit(in WeightView w) => Avx512BW.IsSupported && w.ZeroPoints == null && w.Shape is { Bits: 4, BlockSize: >= Group };

    /// <summary>Elements of a panel.</summary>
    public static int Stride(MatMulShape shape) => shape.ActivationStride / Group * Lanes;

    /// <summary>The sums of a panel's k = first..first + length, multiples of 64.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Fill(sbyte* panel, int first, int length, short* sums)
    {
        var ones = Vector512.Create((byte)1);
        for (var k = first; k < first + length; k += Group)
        {
            Vector512<short> sum = default, other = default;
            for (sbyte* source = panel + (k * PanelTiles.Rows), end = source + (Group * PanelTiles.Rows); source < end; source += 128)
            {
                sum += Avx512BW.MultiplyAddAdjacent(ones, Vector512.Load(source));
                other += Avx512BW.MultiplyAddAdjacent(ones, Vector512.Load(source + 64));
            }

            (-(sum + other) << 3).Store(sums + (k / Group * Lanes));
        }
    }

    /// <summary>The specification: row r's sums.</summary>
    public static void FillScalar(sbyte* panel, int r, MatMulShape shape, short* sums)
    {
        for (var p = 0; p < shape.ActivationStride; p += 2)
        {
            var at = panel + ((p >> 2) * PanelTiles.Rows * 4) + (r * 4) + (p & 2);
            ref var sum = ref sums[(p / Group * Lanes) + (2 * r) + ((p & 2) >> 1)];
            sum = (short)((p % Group < 4 ? 0 : sum) - (8 * (at[0] + at[1])));
        }
    }
}
