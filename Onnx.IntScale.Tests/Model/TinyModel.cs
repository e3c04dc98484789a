using System.Runtime.InteropServices;
using Google.Protobuf;
using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Tests;

/// <summary>A folder of the test's own, deleted afterwards.</summary>
public sealed class TempFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("intscale-test-").FullName;

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}

/// <summary>Small graphs in the forms that exporters write, built a node at a time.</summary>
internal sealed class TinyModel
{
    private readonly MemoryStream _data = new();

    public TinyModel()
    {
        Proto = new ModelProto { IrVersion = 10, ProducerName = "tiny", Graph = new GraphProto { Name = "tiny" } };
        Proto.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = 18 });
    }

    public ModelProto Proto { get; }

    /// <summary>The two-layer model that most tests use: X [M, 96] → first [96, 40] → Relu → second [40, 24] → Y, weights external, float16 by default.</summary>
    public static TinyModel TwoLayers(DataType type = DataType.Float16)
    {
        var model = new TinyModel().Input("X", type, "M", 96).Output("Y", type, "M", 24);
        model.External("w1", type, TestWeights.Normal(96, 40, 1), 96, 40).External("w2", type, TestWeights.Normal(40, 24, 2), 40, 24);
        return model.Node("MatMul", "first", ["X", "w1"], ["h"]).Node("Relu", "act", ["h"], ["r"]).Node("MatMul", "second", ["r", "w2"], ["Y"]);
    }

    public TinyModel Input(string name, DataType type, params object[] dims)
    {
        Proto.Graph.Input.Add(Value(name, type, dims));
        return this;
    }

    public TinyModel Output(string name, DataType type, params object[] dims)
    {
        Proto.Graph.Output.Add(Value(name, type, dims));
        return this;
    }

    public TinyModel Node(string opType, string name, string[] inputs, string[] outputs, params AttributeProto[] attributes)
    {
        var node = new NodeProto { OpType = opType, Name = name };
        node.Input.AddRange(inputs);
        node.Output.AddRange(outputs);
        node.Attribute.AddRange(attributes);
        Proto.Graph.Node.Add(node);
        return this;
    }

    public TinyModel Inline(string name, DataType type, float[] values, params long[] dims)
    {
        Proto.Graph.Initializer.Add(Tensor(name, type, values, dims));
        return this;
    }

    /// <summary>Adds an initializer in model.onnx.data.</summary>
    public TinyModel External(string name, DataType type, float[] values, params long[] dims)
    {
        var tensor = Tensor(name, type, values, dims);
        var bytes = tensor.RawData.ToByteArray();
        ExternalData.Set(tensor, "model.onnx.data", _data.Position, bytes.Length);
        _data.Write(bytes);
        Proto.Graph.Initializer.Add(tensor);
        return this;
    }

    /// <summary>Writes model.onnx and its data; returns the model's path.</summary>
    public string Save(string folder)
    {
        Directory.CreateDirectory(folder);
        var path = System.IO.Path.Combine(folder, "model.onnx");
        File.WriteAllBytes(path, Proto.ToByteArray());
        if (_data.Length > 0) File.WriteAllBytes(path + ".data", _data.ToArray());
        return path;
    }

    public static TensorProto Tensor(string name, DataType type, float[] values, params long[] dims)
    {
        var tensor = new TensorProto { Name = name, DataType = (int)type };
        tensor.Dims.AddRange(dims);
        tensor.RawData = ByteString.CopyFrom(type switch
        {
            DataType.Float => MemoryMarshal.AsBytes<float>(values),
            DataType.Float16 => MemoryMarshal.AsBytes<Half>(values.Select(v => (Half)v).ToArray()),
            DataType.Bfloat16 => MemoryMarshal.AsBytes<ushort>(values.Select(Elements.ToBFloat16).ToArray()),
            DataType.Int64 => MemoryMarshal.AsBytes<long>(values.Select(v => (long)v).ToArray()),
            _ => throw new ArgumentException(type.ToString()),
        });
        return tensor;
    }

    public static AttributeProto Ints(string name, params long[] values)
    {
        var attribute = new AttributeProto { Name = name, Type = AttributeProto.Types.AttributeType.Ints };
        attribute.Ints.AddRange(values);
        return attribute;
    }

    private static ValueInfoProto Value(string name, DataType type, object[] dims)
    {
        var shape = new TensorShapeProto();
        foreach (var dim in dims)
            shape.Dim.Add(dim is string s ? new TensorShapeProto.Types.Dimension { DimParam = s } : new TensorShapeProto.Types.Dimension { DimValue = Convert.ToInt64(dim) });
        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)type, Shape = shape } } };
    }
}
