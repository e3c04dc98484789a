using System.Runtime.CompilerServices;

namespace Onnx.IntScale;

/// <summary>Conversions between float32 and the operator's element types; to a narrower type by round to nearest even.</summary>
public static unsafe class Elements
{
    /// <summary>Bytes of one element.</summary>
    public static int SizeOf(ElementType type) => type == ElementType.Float ? 4 : 2;

    /// <summary>Element i of an array of the given type, as float32 (exact).</summary>
    public static float Load(ElementType type, void* data, long i) => type switch
    {
        ElementType.Float => ((float*)data)[i],
        ElementType.Float16 => (float)((Half*)data)[i],
        _ => FromBFloat16(((ushort*)data)[i]),
    };

    /// <summary>Stores a float32 as element i of an array of the given type.</summary>
    public static void Store(ElementType type, void* data, long i, float value)
    {
        switch (type)
        {
            case ElementType.Float: ((float*)data)[i] = value; break;
            case ElementType.Float16: ((Half*)data)[i] = (Half)value; break;
            default: ((ushort*)data)[i] = ToBFloat16(value); break;
        }
    }

    /// <summary>A bfloat16's value (exact).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float FromBFloat16(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);

    /// <summary>The nearest bfloat16, ties to even; a NaN stays a quiet NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort ToBFloat16(float value)
    {
        var bits = BitConverter.SingleToUInt32Bits(value);
        if ((bits & 0x7FFFFFFF) > 0x7F800000) return (ushort)((bits >> 16) | 0x40);
        return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    /// <summary>Converts a span of bfloat16 (exact).</summary>
    public static void FromBFloat16(ReadOnlySpan<ushort> source, Span<float> destination)
    {
        for (var i = 0; i < source.Length; i++) destination[i] = FromBFloat16(source[i]);
    }

    /// <summary>Converts a span to bfloat16, ties to even.</summary>
    public static void ToBFloat16(ReadOnlySpan<float> source, Span<ushort> destination)
    {
        for (var i = 0; i < source.Length; i++) destination[i] = ToBFloat16(source[i]);
    }
}
