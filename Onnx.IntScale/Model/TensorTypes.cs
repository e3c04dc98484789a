using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale;

/// <summary>Sizes of ONNX element types and tensors.</summary>
public static class TensorTypes
{
    /// <summary>Bits of one element, or 0 for strings and unknown types, which have no fixed size.</summary>
    public static int BitsOf(int dataType) => (DataType)dataType switch
    {
        DataType.Int2 or DataType.Uint2 => 2,
        DataType.Int4 or DataType.Uint4 or DataType.Float4E2M1 => 4,
        DataType.Bool or DataType.Int8 or DataType.Uint8 or DataType.Float8E4M3Fn or DataType.Float8E4M3Fnuz
            or DataType.Float8E5M2 or DataType.Float8E5M2Fnuz or DataType.Float8E8M0 => 8,
        DataType.Float16 or DataType.Bfloat16 or DataType.Int16 or DataType.Uint16 => 16,
        DataType.Float or DataType.Int32 or DataType.Uint32 => 32,
        DataType.Double or DataType.Int64 or DataType.Uint64 or DataType.Complex64 => 64,
        DataType.Complex128 => 128,
        _ => 0,
    };

    /// <summary>Elements of a tensor: the product of its dims.</summary>
    /// <exception cref="OverflowException">A dim is negative or the product exceeds 2^63.</exception>
    public static long CountOf(TensorProto tensor)
    {
        var count = 1L;
        foreach (var dim in tensor.Dims) count = checked(count * (dim >= 0 ? dim : throw new OverflowException()));
        return count;
    }

    /// <summary>Bytes of a tensor in raw form, or null for types without a fixed size.</summary>
    public static long? BytesOf(TensorProto tensor) =>
        BitsOf(tensor.DataType) is > 0 and var bits ? checked((CountOf(tensor) * bits) + 7) / 8 : null;

    /// <summary>The operator's name for a float type of ONNX, or null for any other type.</summary>
    public static ElementType? FloatType(int dataType) => (DataType)dataType switch
    {
        DataType.Float => ElementType.Float,
        DataType.Float16 => ElementType.Float16,
        DataType.Bfloat16 => ElementType.BFloat16,
        _ => null,
    };

    /// <summary>"float16 [384,1024]".</summary>
    public static string Describe(TensorProto tensor) => $"{((DataType)tensor.DataType).ToString().ToLowerInvariant()} [{string.Join(',', tensor.Dims)}]";
}
