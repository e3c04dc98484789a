using Google.Protobuf;
using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Tests;

public sealed class ModelFileTests
{
    [Fact]
    public void Read_TypedFields_GivesRawBytes()
    {
        using var folder = new TempFolder();
        var tiny = new TinyModel().Inline("dummy", DataType.Float, [0], 1);
        var half = new TensorProto { Name = "half", DataType = (int)DataType.Float16, Dims = { 2 }, Int32Data = { 0x3C00, 0xC000 } };
        var single = new TensorProto { Name = "single", DataType = (int)DataType.Float, Dims = { 2 }, FloatData = { 1f, -2f } };
        tiny.Proto.Graph.Initializer.Add([half, single]);
        var model = ModelFile.Load(tiny.Save(folder.Path));
        using var h = model.Read(model.Proto.Graph.Initializer[1]);
        using var s = model.Read(model.Proto.Graph.Initializer[2]);
        Assert.Equal([0x00, 0x3C, 0x00, 0xC0], h.Slice(0, 4).ToArray());
        Assert.Equal([0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0], s.Slice(0, 8).ToArray());
    }

    [Fact]
    public void CopyExternal_TensorsThatShareBytes_GoOnSharingThem()
    {
        using var folder = new TempFolder();
        var tiny = new TinyModel().External("a", DataType.Float, [1, 2, 3, 4], 4);
        var twin = tiny.Proto.Graph.Initializer[0].Clone();
        twin.Name = "b";
        tiny.Proto.Graph.Initializer.Add(twin);
        var model = ModelFile.Load(tiny.Save(folder["in"]));
        using (var writer = new ModelWriter(folder["out/model.onnx"]))
        {
            foreach (var tensor in model.Proto.Graph.Initializer) writer.CopyExternal(model, tensor);
            writer.Commit(model.Proto);
        }

        Assert.Equal(16, new FileInfo(folder["out/model.onnx.data"]).Length);
        var copy = ModelFile.Load(folder["out"]);
        using var b = copy.Read(copy.Proto.Graph.Initializer[1]);
        Assert.Equal(16, b.Length);
    }

    [Fact]
    public void Append_LargeTensors_StartOnPages()
    {
        using var folder = new TempFolder();
        using var writer = new ModelWriter(folder["model.onnx"]);
        writer.Append("small", DataType.Uint8, [3], [1, 2, 3]);
        var large = writer.Append("large", DataType.Uint8, [1 << 17], new byte[1 << 17]);
        Assert.Equal(4096, ExternalData.Of(large, folder["model.onnx"]).Offset);
    }

    /// <summary>2^32 by 2^32 elements are 2^64, which wraps around to nothing.</summary>
    [Fact]
    public void Inspect_ImpossibleTensor_IsRefused()
    {
        using var folder = new TempFolder();
        var tiny = TinyModel.TwoLayers();
        tiny.Proto.Graph.Initializer[0].Dims.Clear();
        tiny.Proto.Graph.Initializer[0].Dims.Add([1L << 32, 1L << 32]);
        Assert.Contains("impossible shape", Assert.Throws<ModelException>(() => ModelInspection.Of(tiny.Save(folder.Path))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("K", (1L << 32) + 96)]
    [InlineData("N", -40)]
    [InlineData("K", int.MaxValue)]
    [InlineData("bits", (1L << 32) + 4)]
    public void IntScaleNode_AttributeOutOfRange_IsRefused(string attribute, long value)
    {
        using var folder = new TempFolder();
        Converter.Convert(TinyModel.TwoLayers().Save(folder["in"]), folder["out"], new ConvertOptions());
        var model = ModelFile.Load(folder["out"]);
        model.Proto.Graph.Node[0].Attribute.Single(a => a.Name == attribute).I = value;
        File.WriteAllBytes(model.ModelPath, model.Proto.ToByteArray());
        Assert.Contains($"attribute {attribute} is {value}", Assert.Throws<ModelException>(() => Verifier.Verify(folder["out"])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void CopyExternal_LargeTensor_ReportsEachChunk()
    {
        using var folder = new TempFolder();
        var model = ModelFile.Load(new TinyModel().External("a", DataType.Float, new float[5 << 18], 5 << 18).Save(folder.Path));
        using var writer = new ModelWriter(folder["out/model.onnx"]);
        var chunks = new List<long>();
        for (var i = 0; i < 2; i++) writer.CopyExternal(model, model.Proto.Graph.Initializer[0].Clone(), chunks.Add);
        Assert.Equal([4 << 20, 1 << 20], chunks);
    }

    [Fact]
    public void Chunks_Stop()
    {
        using var folder = new TempFolder();
        var model = ModelFile.Load(TinyModel.TwoLayers().Save(folder.Path));
        var tensor = model.Proto.Graph.Initializer[0];
        Assert.Throws<OperationCanceledException>(() => model.Read(tensor, new CancellationToken(canceled: true)));
        using var writer = new ModelWriter(folder["out/model.onnx"]);
        Assert.Throws<OperationCanceledException>(() => writer.CopyExternal(model, tensor, cancel: new CancellationToken(canceled: true)));
        Assert.Throws<OperationCanceledException>(() => writer.CopyFile(model.ModelPath, new CancellationToken(canceled: true)));
    }
}
