using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Tests;

public sealed class ConverterTests
{
    private static readonly ConvertOptions Options = new() { Quantize = new QuantizeOptions { BlockSize = 32 } };

    [Fact]
    public void Convert_EverythingNotRewritten_Survives()
    {
        using var folder = new TempFolder();
        var tiny = TinyModel.TwoLayers();
        var p = tiny.Proto;
        p.DocString = "doc";
        p.MetadataProps.Add(new StringStringEntryProto { Key = "license", Value = "MIT" });
        p.Functions.Add(new FunctionProto { Name = "F", Domain = "d", Node = { new NodeProto { OpType = "Relu", Input = { "a" }, Output = { "b" } } } });
        p.Graph.QuantizationAnnotation.Add(new TensorAnnotation { TensorName = "r" });
        p.Graph.ValueInfo.Add(new ValueInfoProto { Name = "h", DocString = "hidden" });
        p.Graph.Node[0].DocString = "the first";
        p.Graph.Node[0].MetadataProps.Add(new StringStringEntryProto { Key = "layer", Value = "0" });
        tiny.External("kept", DataType.Float, [1, 2, 3], 3).Inline("small", DataType.Int64, [7], 1);
        // A field that no version of the format has yet: number 999, varint 5.
        var bytes = p.ToByteArray().Concat(new byte[] { 0xB8, 0x3E, 5 }).ToArray();
        tiny.Save(folder["in"]);
        File.WriteAllBytes(folder["in/model.onnx"], bytes);

        Converter.Convert(folder["in"], folder["out"], Options);

        var before = ModelFile.Load(folder["in"]);
        var after = ModelFile.Load(folder["out"]);
        Assert.Equal([0xB8, 0x3E, 5], after.Proto.ToByteArray()[^3..]);
        foreach (var name in new[] { "kept", "small" }) Assert.Equal(Bytes(before, name), Bytes(after, name));
        foreach (var (old, @new) in before.Proto.Graph.Node.Zip(after.Proto.Graph.Node))
        {
            Assert.Equal(old.Name, @new.Name);
            Assert.Equal(old.Output, @new.Output);
            Assert.Equal(old.DocString, @new.DocString);
            Assert.Equal(old.MetadataProps, @new.MetadataProps);
        }

        // Undo what a rewrite may change; the rest must be equal, field by field.
        var (x, y) = (before.Proto.Clone(), after.Proto.Clone());
        Assert.Contains(y.OpsetImport, o => o.Domain == Ops.Domain && o.Version == 1);
        foreach (var m in new[] { x, y })
        {
            m.OpsetImport.Clear();
            m.Graph.Initializer.Clear();
            foreach (var node in m.Graph.Node.Where(n => n.Name is "first" or "second").ToList()) m.Graph.Node.Remove(node);
        }

        Assert.Equal(x, y);
        Assert.Equal(["kept", "small", "w1_q4_B", "w1_q4_channel_scales", "w1_q4_scales", "w2_q4_B", "w2_q4_channel_scales", "w2_q4_scales"], after.Proto.Graph.Initializer.Select(t => t.Name).Order());
    }

    [Fact]
    public void Convert_Node_CarriesShapeAndCertificate()
    {
        using var folder = new TempFolder();
        var report = Converter.Convert(TinyModel.TwoLayers().Save(folder["in"]), folder["out"], Options);
        var node = ModelFile.Load(folder["out"]).Proto.Graph.Node[0];
        Assert.True(Ops.IsIntScale(node));
        Assert.Equal(["X", "w1_q4_B", "w1_q4_scales", "w1_q4_channel_scales"], node.Input);
        Assert.Equal((96L, 40L, 4L, 32L, 0L), (Ops.Int(node, "K"), Ops.Int(node, "N"), Ops.Int(node, "bits"), Ops.Int(node, "block_size"), Ops.Int(node, "amplifier")));
        Assert.Equal(report.Layers[0].MaxAccumulator, Ops.Int(node, "max_accumulator"));
        Assert.All(Verifier.Verify(folder["out"]), c => Assert.Null(c.Fault));
        Assert.Equal(2, Verifier.Verify(folder["out"]).Count);
    }

    [Fact]
    public void Convert_Twice_SameBytes()
    {
        using var folder = new TempFolder();
        var input = TinyModel.TwoLayers().Save(folder["in"]);
        foreach (var name in new[] { "a", "b" }) Converter.Convert(input, folder[name], Options);
        Assert.Equal(File.ReadAllBytes(folder["a/model.onnx"]), File.ReadAllBytes(folder["b/model.onnx"]));
        Assert.Equal(File.ReadAllBytes(folder["a/model.onnx.data"]), File.ReadAllBytes(folder["b/model.onnx.data"]));
    }

    [Fact]
    public void Convert_SharedWeight_IsQuantizedOnceAndKeptForOtherUses()
    {
        // Tied embeddings as the GenAI builder writes them: lm_head and a transposed Gather share one initializer.
        using var folder = new TempFolder();
        var tiny = new TinyModel().Input("X", DataType.Float16, "M", 96).Output("Y", DataType.Float16, "M", 40);
        tiny.External("w", DataType.Float16, TestWeights.Normal(96, 40, 1), 96, 40)
            .Node("Transpose", "t", ["w"], ["wt"], TinyModel.Ints("perm", 1, 0))
            .Node("Gather", "embed", ["wt", "ids"], ["e"])
            .Node("MatMul", "one", ["X", "w"], ["Y"])
            .Node("MatMul", "two", ["e", "w"], ["Y2"]);
        var report = Converter.Convert(tiny.Save(folder["in"]), folder["out"], Options);
        var graph = ModelFile.Load(folder["out"]).Proto.Graph;
        Assert.Equal("one", report.Layers[1].SharedWith);
        Assert.Equal(graph.Node[2].Input.Skip(1), graph.Node[3].Input.Skip(1));
        Assert.Equal(4, graph.Initializer.Count);
        Assert.Contains(graph.Initializer, t => t.Name == "w");
    }

    /// <summary>Two initializers that are the same bytes of the data file, as exporters that remove duplicates write them.</summary>
    [Fact]
    public void Convert_InitializersOfOneRegion_AreQuantizedAndCountedOnce()
    {
        using var folder = new TempFolder();
        var tiny = new TinyModel().Input("X", DataType.Float16, "M", 64).Output("Y", DataType.Float16, "M", 64);
        tiny.External("a", DataType.Float16, TestWeights.Normal(64, 64, 1), 64, 64);
        foreach (var name in new[] { "b", "embedding1", "embedding2" })
        {
            var twin = tiny.Proto.Graph.Initializer[0].Clone();
            twin.Name = name;
            tiny.Proto.Graph.Initializer.Add(twin);
        }

        tiny.Node("MatMul", "one", ["X", "a"], ["h"]).Node("MatMul", "two", ["h", "b"], ["Y"])
            .Node("Gather", "g1", ["embedding1", "ids"], ["e1"]).Node("Gather", "g2", ["embedding2", "ids"], ["e2"]);
        var input = tiny.Save(folder["in"]);
        var progress = new Watch();
        var report = Converter.Convert(input, folder["out"], Options, progress);

        Assert.Equal((null, "one"), (report.Layers[0].SharedWith, report.Layers[1].SharedWith));
        Assert.Equal(0, report.Layers[1].BytesAfter);
        Assert.Equal(5, ModelFile.Load(folder["out"]).Proto.Graph.Initializer.Count);
        Assert.Equal(new FileInfo(input).Length + (64 * 64 * 2), report.BytesBefore);
        Assert.All(progress.Seen, p => Assert.InRange(p.Done, 0, p.Total));
    }

    [Fact]
    public void Convert_TwoNodesOfOneName_AreRefused()
    {
        using var folder = new TempFolder();
        var tiny = TinyModel.TwoLayers();
        tiny.Proto.Graph.Node[2].Name = "first";
        // ONNX Runtime refuses the input too, so nothing is lost.
        var input = tiny.Save(folder["in"]);
        Assert.Contains("same node name", Assert.Throws<OnnxRuntimeException>(() => new InferenceSession(input)).Message, StringComparison.Ordinal);
        var message = Assert.Throws<ModelException>(() => Converter.Convert(input, folder["out"], Options)).Message;
        Assert.Contains("node 'first': 2 nodes have this name", message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(folder["out"]));
    }

    /// <summary>Before IR version 4 an initializer must be a graph input as well.</summary>
    [Fact]
    public void Convert_IrVersion3_ListsNewInitializersAsInputs_AndRuns()
    {
        using var folder = new TempFolder();
        var tiny = TinyModel.TwoLayers(DataType.Float);
        tiny.Proto.IrVersion = 3;
        tiny.Proto.OpsetImport[0].Version = 8;
        tiny.Input("w1", DataType.Float, 96, 40).Input("w2", DataType.Float, 40, 24);
        Converter.Convert(tiny.Save(folder["in"]), folder["out"], Options);
        var graph = ModelFile.Load(folder["out"]).Proto.Graph;
        Assert.Equal(graph.Initializer.Select(t => t.Name).Append("X").Order(), graph.Input.Select(i => i.Name).Order());
        using var options = IntScaleOps.Register(new SessionOptions());
        using var session = new InferenceSession(folder["out/model.onnx"], options);
        using var x = OrtValue.CreateTensorValueFromMemory(new float[2 * 96], [2, 96]);
        using var run = new RunOptions();
        using var y = session.Run(run, ["X"], [x], ["Y"]);
        Assert.Equal([2, 24], y[0].GetTensorTypeAndShape().Shape);
    }

    [Fact]
    public void Convert_TransposedWeight_DropsTransposeAndFloatWeight()
    {
        using var folder = new TempFolder();
        var w = TestWeights.Normal(96, 40, 1);
        var transposed = Enumerable.Range(0, w.Length).Select(i => w[(i % 96 * 40) + (i / 96)]).ToArray();
        var a = new TinyModel().Input("X", DataType.Float16, "M", 96).Output("Y", DataType.Float16, "M", 40)
            .External("w", DataType.Float16, w, 96, 40).Node("MatMul", "m", ["X", "w"], ["Y"]);
        var b = new TinyModel().Input("X", DataType.Float16, "M", 96).Output("Y", DataType.Float16, "M", 40)
            .External("w", DataType.Float16, transposed, 40, 96).Node("Transpose", "t", ["w"], ["wt"]).Node("MatMul", "m", ["X", "wt"], ["Y"]);
        Converter.Convert(a.Save(folder["a"]), folder["a-out"], Options);
        Converter.Convert(b.Save(folder["b"]), folder["b-out"], Options);
        var graph = ModelFile.Load(folder["b-out"]).Proto.Graph;
        Assert.Equal("m", Assert.Single(graph.Node).Name);
        Assert.DoesNotContain(graph.Initializer, t => t.Name == "w");
        Assert.Equal(File.ReadAllBytes(folder["a-out/model.onnx.data"]), File.ReadAllBytes(folder["b-out/model.onnx.data"]));
    }

    [Fact]
    public void Convert_Subgraph_KeepsWhatItCapturesAndCopiesItsTensors()
    {
        using var folder = new TempFolder();
        var tiny = TinyModel.TwoLayers();
        tiny.External("inner", DataType.Float, [4, 5], 2);
        var inner = tiny.Proto.Graph.Initializer[^1];
        tiny.Proto.Graph.Initializer.Remove(inner);
        var branch = new GraphProto { Name = "then", Initializer = { inner } };
        branch.Node.Add(new NodeProto { OpType = "Identity", Input = { "w1" }, Output = { "z" } });
        tiny.Node("If", "if", ["c"], ["z"], new AttributeProto { Name = "then_branch", Type = AttributeProto.Types.AttributeType.Graph, G = branch });
        Converter.Convert(tiny.Save(folder["in"]), folder["out"], Options);
        var after = ModelFile.Load(folder["out"]);
        Assert.Contains(after.Proto.Graph.Initializer, t => t.Name == "w1");
        using var data = after.Read(after.Proto.Graph.Node[^1].Attribute[0].G.Initializer[0]);
        Assert.Equal([0, 0, 128, 64, 0, 0, 160, 64], data.Slice(0, 8).ToArray());
    }

    [Fact]
    public void Convert_Folder_CopiesCompanionsOnly()
    {
        using var folder = new TempFolder();
        TinyModel.TwoLayers().Save(folder["in"]);
        foreach (var name in new[] { "tokenizer.json", "genai_config.json", "other.onnx", "other.onnx.data" }) File.WriteAllText(folder["in/" + name], name);
        Converter.Convert(folder["in"], folder["out"], Options);
        Assert.Equal(["genai_config.json", "model.onnx", "model.onnx.data", "tokenizer.json"], Directory.GetFiles(folder["out"]).Select(Path.GetFileName).Order());
    }

    [Fact]
    public void Convert_Interrupted_LeavesNothing()
    {
        using var folder = new TempFolder();
        var input = TinyModel.TwoLayers().Save(folder["in"]);
        using var cancel = new CancellationTokenSource();
        var stop = new Stop(cancel);
        Assert.Throws<OperationCanceledException>(() => Converter.Convert(input, folder["deep/er/out"], Options, stop, cancel.Token));
        Assert.False(Directory.Exists(folder["deep"]));
        Assert.Equal(2, Directory.GetFiles(folder["in"]).Length);
    }

    [Fact]
    public void Convert_ForceAndInterrupted_KeepsTheOldOutput()
    {
        using var folder = new TempFolder();
        var input = TinyModel.TwoLayers().Save(folder["in"]);
        Converter.Convert(input, folder["out"], Options);
        var old = Directory.GetFiles(folder["out"]).ToDictionary(f => f, File.ReadAllBytes);
        using var cancel = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(() => Converter.Convert(input, folder["out"], Options with { Force = true }, new Stop(cancel), cancel.Token));
        Assert.Equal(old.Keys.Order(), Directory.GetFiles(folder["out"]).Order());
        Assert.All(old, f => Assert.Equal(f.Value, File.ReadAllBytes(f.Key)));
    }

    [Fact]
    public void Convert_NothingFound_WritesNothing()
    {
        using var folder = new TempFolder();
        var input = TinyModel.TwoLayers().Save(folder["in"]);
        var report = Converter.Convert(input, folder["out"], Options with { Exclude = ["*"] });
        Assert.Empty(report.Layers);
        Assert.Equal(2, report.Skipped.Count);
        Assert.False(Directory.Exists(folder["out"]));
    }

    private static byte[] Bytes(ModelFile model, string name)
    {
        using var data = model.Read(model.Proto.Graph.Initializer.Single(t => t.Name == name));
        return data.Slice(0, (int)data.Length).ToArray();
    }

    private sealed class Watch : IProgress<ConversionProgress>
    {
        public List<ConversionProgress> Seen { get; } = [];

        public void Report(ConversionProgress value) => Seen.Add(value);
    }

    /// <summary>Cancels once the first layer is done.</summary>
    private sealed class Stop(CancellationTokenSource cancel) : IProgress<ConversionProgress>
    {
        public void Report(ConversionProgress value)
        {
            if (value.Layer != null) cancel.Cancel();
        }
    }
}
