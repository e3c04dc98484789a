namespace Onnx.IntScale;

/// <summary>What shape inference calls.</summary>
internal readonly unsafe partial struct OrtApi
{
    /// <summary>Type and shape of an input; the context's own, never to be released.</summary>
    public void* InferredInput(void* context, int index)
    {
        void* info;
        Check(((delegate* unmanaged<void*, nuint, void**, void*>)_slots[OrtSlot.ShapeInferContext_GetInputTypeShape])(context, (nuint)index, &info));
        return info;
    }

    /// <summary>An int attribute during shape inference, or null where there is none of that name and type.</summary>
    public long? InferredIntAttribute(void* context, ReadOnlySpan<byte> name)
    {
        const int Int = 1;
        void* attribute;
        long value = 0;
        nuint size;
        var find = (delegate* unmanaged<void*, byte*, void**, void*>)_slots[OrtSlot.ShapeInferContext_GetAttribute];
        var read = (delegate* unmanaged<void*, int, void*, nuint, nuint*, void*>)_slots[OrtSlot.ReadOpAttr];
        fixed (byte* text = name)
        {
            var status = find(context, text, &attribute);
            if (status == null) status = read(attribute, Int, &value, sizeof(long), &size);
            if (status == null) return value;
            ReleaseStatus(status);
            return null;
        }
    }

    public int ElementTypeOf(void* info)
    {
        int type;
        Check(((delegate* unmanaged<void*, int*, void*>)_slots[OrtSlot.GetTensorElementType])(info, &type));
        return type;
    }

    /// <summary>Dimensions; -1 where one is symbolic or unknown.</summary>
    public long[] Dimensions(void* info)
    {
        nuint rank;
        Check(((delegate* unmanaged<void*, nuint*, void*>)_slots[OrtSlot.GetDimensionsCount])(info, &rank));
        var dims = new long[(int)rank];
        fixed (long* pointer = dims) Check(((delegate* unmanaged<void*, long*, nuint, void*>)_slots[OrtSlot.GetDimensions])(info, pointer, rank));
        return dims;
    }

    /// <summary>The names of symbolic dimensions, "" where one has none.</summary>
    public string[] Symbols(void* info, int rank)
    {
        var names = stackalloc byte*[rank];
        Check(((delegate* unmanaged<void*, byte**, nuint, void*>)_slots[OrtSlot.GetSymbolicDimensions])(info, names, (nuint)rank));
        var symbols = new string[rank];
        for (var i = 0; i < rank; i++) symbols[i] = Text(names[i]);
        return symbols;
    }

    /// <summary>Declares output 0's type and shape; symbols holds "" for dimensions that are numbers.</summary>
    public void SetInferredOutput(void* context, int type, long* dims, byte** symbols, int rank)
    {
        void* info;
        Check(((delegate* unmanaged<void**, void*>)_slots[OrtSlot.CreateTensorTypeAndShapeInfo])(&info));
        try
        {
            Check(((delegate* unmanaged<void*, int, void*>)_slots[OrtSlot.SetTensorElementType])(info, type));
            Check(((delegate* unmanaged<void*, long*, nuint, void*>)_slots[OrtSlot.SetDimensions])(info, dims, (nuint)rank));
            Check(((delegate* unmanaged<void*, byte**, nuint, void*>)_slots[OrtSlot.SetSymbolicDimensions])(info, symbols, (nuint)rank));
            Check(((delegate* unmanaged<void*, nuint, void*, void*>)_slots[OrtSlot.ShapeInferContext_SetOutputTypeShape])(context, 0, info));
        }
        finally
        {
            ((delegate* unmanaged<void*, void>)_slots[OrtSlot.ReleaseTensorTypeAndShapeInfo])(info);
        }
    }
}
