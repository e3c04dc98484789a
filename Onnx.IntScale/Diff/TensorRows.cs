using System.Numerics.Tensors;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Onnx.IntScale;

/// <summary>A float tensor as rows of its last axis, where it lies: leading axes are flattened. Valid as long as its memory is.</summary>
/// <param name="type">Element type.</param>
/// <param name="data">First element.</param>
/// <param name="rows">Product of the leading axes.</param>
/// <param name="columns">The last axis.</param>
public readonly unsafe struct TensorRows(ElementType type, void* data, int rows, int columns)
{
    /// <summary>Element type.</summary>
    public ElementType Type { get; } = type;

    /// <summary>First element.</summary>
    public void* Data { get; } = data;

    /// <summary>Product of the leading axes.</summary>
    public int Rows { get; } = rows;

    /// <summary>The last axis.</summary>
    public int Columns { get; } = columns;

    /// <summary>Views a tensor of ONNX Runtime; it must outlive the view.</summary>
    /// <param name="value">A tensor in CPU memory.</param>
    /// <param name="where">What to call it in an error.</param>
    /// <exception cref="ModelException">It is no tensor of float16, bfloat16 or float.</exception>
    public static TensorRows Of(OrtValue value, string where)
    {
        var info = value.GetTensorTypeAndShape();
        var shape = info.Shape;
        var columns = shape.Length == 0 ? 1 : checked((int)shape[^1]);
        var rows = columns == 0 ? 0 : checked((int)(info.ElementCount / columns));
        switch (info.ElementDataType)
        {
            case TensorElementType.Float16:
                fixed (void* p = value.GetTensorDataAsSpan<Float16>()) return new(ElementType.Float16, p, rows, columns);
            case TensorElementType.BFloat16:
                fixed (void* p = value.GetTensorDataAsSpan<BFloat16>()) return new(ElementType.BFloat16, p, rows, columns);
            case TensorElementType.Float:
                fixed (void* p = value.GetTensorDataAsSpan<float>()) return new(ElementType.Float, p, rows, columns);
            default:
                throw new ModelException(
                    where, $"is of type {info.ElementDataType.ToString().ToLowerInvariant()}; expected float16, bfloat16 or float",
                    "export the model with float outputs");
        }
    }

    /// <summary>Row i as float32 (exact).</summary>
    /// <param name="i">0..<see cref="Rows"/>.</param>
    /// <param name="destination">At least <see cref="Columns"/> elements.</param>
    public void Load(int i, Span<float> destination)
    {
        var start = (long)i * Columns;
        switch (Type)
        {
            case ElementType.Float: new ReadOnlySpan<float>((float*)Data + start, Columns).CopyTo(destination); break;
            case ElementType.Float16: TensorPrimitives.ConvertToSingle(new ReadOnlySpan<Half>((Half*)Data + start, Columns), destination); break;
            default: Elements.FromBFloat16(new ReadOnlySpan<ushort>((ushort*)Data + start, Columns), destination); break;
        }
    }
}
