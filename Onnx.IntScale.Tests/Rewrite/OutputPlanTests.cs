using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Tests;

/// <summary>What a conversion may write to, and which files it takes along.</summary>
public sealed class OutputPlanTests
{
    [Theory]
    [InlineData("model.onnx")]
    [InlineData("model.onnx.data")]
    [InlineData("README.md")]
    [InlineData("tokenizer.json")]
    public void Convert_AnyFileExists_IsNamedAndKept(string name)
    {
        using var folder = new TempFolder();
        Save(folder);
        Directory.CreateDirectory(folder["out"]);
        File.WriteAllText(folder["out/" + name], "mine");
        var message = Assert.Throws<ModelException>(() => Converter.Convert(folder["in"], folder["out"], new ConvertOptions())).Message;
        Assert.StartsWith(folder["out/" + name] + ": exists already", message, StringComparison.Ordinal);
        Assert.Equal("mine", File.ReadAllText(Assert.Single(Directory.GetFiles(folder["out"]))));

        Converter.Convert(folder["in"], folder["out"], new ConvertOptions { Force = true });
        Assert.Equal(["README.md", "model.onnx", "model.onnx.data", "tokenizer.json"], Names(folder["out"]));
        Assert.NotEqual("mine", File.ReadAllText(folder["out/" + name]));
    }

    [UnixFact]
    public void Convert_DanglingLinkAtTheOutput_CountsAsAFile()
    {
        using var folder = new TempFolder();
        Save(folder);
        Directory.CreateDirectory(folder["out"]);
        File.CreateSymbolicLink(folder["out/model.onnx.data"], folder["nowhere"]);
        Assert.Contains("exists already", Assert.Throws<ModelException>(() => Converter.Convert(folder["in"], folder["out"], new ConvertOptions())).Message, StringComparison.Ordinal);
        Converter.Convert(folder["in"], folder["out"], new ConvertOptions { Force = true });
        Assert.False(File.Exists(folder["nowhere"]));
        Assert.All(Verifier.Verify(folder["out"]), c => Assert.Null(c.Fault));
    }

    [Theory]
    [InlineData("model.onnx", false)]
    [InlineData("model.onnx.data", true)]
    [InlineData("tokenizer.json", true)]
    public void Convert_FolderWhereAFileGoes_IsRefusedEvenWithForce(string name, bool force)
    {
        using var folder = new TempFolder();
        Save(folder);
        Directory.CreateDirectory(folder["out/" + name]);
        var message = Assert.Throws<ModelException>(() => Converter.Convert(folder["in"], folder["out"], new ConvertOptions { Force = force })).Message;
        Assert.Contains($"{name}: is a folder", message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(folder["out"]));
    }

    /// <summary>a leads to x/b/c, where b is a link itself: both names mean the input's folder.</summary>
    [UnixFact]
    public void Convert_LinkInsideALinksTarget_IsStillInsideTheInput()
    {
        using var folder = new TempFolder();
        TinyModel.TwoLayers().Save(folder["x/real/c"]);
        Directory.CreateSymbolicLink(folder["x/b"], folder["x/real"]);
        Directory.CreateSymbolicLink(folder["x/a"], folder["x/b/c"]);
        var before = File.ReadAllBytes(folder["x/real/c/model.onnx"]);
        var message = Assert.Throws<ModelException>(() => Converter.Convert(folder["x/real/c"], folder["x/a"], new ConvertOptions { Force = true })).Message;
        Assert.Contains("inside the input's folder", message, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(folder["x/real/c/model.onnx"]));
        Assert.Equal(RealPath.Of(folder["x/real/c/model.onnx"]), RealPath.Of(folder["x/a/model.onnx"]));
    }

    [UnixFact]
    public void RealPath_CircleOfLinks_IsRefused()
    {
        using var folder = new TempFolder();
        File.CreateSymbolicLink(folder["a"], folder["b"]);
        File.CreateSymbolicLink(folder["b"], folder["a"]);
        Assert.Contains("circle", Assert.Throws<ModelException>(() => RealPath.Of(folder["a"])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Convert_TensorsUnderAnyName_AreNotCopiedAlong()
    {
        using var folder = new TempFolder();
        var tiny = TinyModel.TwoLayers();
        foreach (var tensor in tiny.Proto.Graph.Initializer) tensor.ExternalData.Single(e => e.Key == "location").Value = tensor.Name == "w1" ? "onnx__MatMul_1" : "weights.pb";
        Save(folder, tiny);
        File.Copy(folder["in/model.onnx.data"], folder["in/weights.pb"]);
        File.Move(folder["in/model.onnx.data"], folder["in/onnx__MatMul_1"]);
        File.WriteAllText(folder["in/tokenizer.json.77-abc.partial"], "left by a killed process");
        Converter.Convert(folder["in"], folder["out"], new ConvertOptions());
        Assert.Equal(["README.md", "model.onnx", "model.onnx.data", "tokenizer.json"], Names(folder["out"]));
    }

    [UnixFact]
    public void Convert_CompanionThatCannotBeRead_IsToldBeforeTheWork()
    {
        using var folder = new TempFolder();
        Save(folder);
        File.CreateSymbolicLink(folder["in/merges.txt"], folder["nowhere"]);
        var steps = 0;
        var message = Assert.Throws<ModelException>(() => Converter.Convert(folder["in"], folder["out"], new ConvertOptions(), new Count(() => steps++))).Message;
        Assert.StartsWith(folder["in/merges.txt"] + ": cannot be copied along", message, StringComparison.Ordinal);
        Assert.Equal(0, steps);
        Assert.False(Directory.Exists(folder["out"]));
    }

    private static void Save(TempFolder folder, TinyModel? model = null)
    {
        (model ?? TinyModel.TwoLayers(DataType.Float)).Save(folder["in"]);
        foreach (var name in new[] { "README.md", "tokenizer.json" }) File.WriteAllText(folder["in/" + name], name);
    }

    private static IEnumerable<string?> Names(string folder) => Directory.GetFiles(folder).Select(Path.GetFileName).Order(StringComparer.Ordinal);

    private sealed class Count(Action action) : IProgress<ConversionProgress>
    {
        public void Report(ConversionProgress value) => action();
    }
}
