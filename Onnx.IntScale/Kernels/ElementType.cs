namespace Onnx.IntScale;

/// <summary>Element types of the operator's A, bias and Y, numbered as in ONNX's TensorProto.DataType.</summary>
public enum ElementType
{
    /// <summary>IEEE binary32.</summary>
    Float = 1,

    /// <summary>IEEE binary16.</summary>
    Float16 = 10,

    /// <summary>The upper half of a binary32.</summary>
    BFloat16 = 16,
}
