using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Tests;

/// <summary>Models whose files are links, as Hugging Face caches keep them, and locations that are no plain names.</summary>
public sealed class LinkedModelTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [UnixFact]
    public void Cache_ConvertsAsTheFilesThemselves()
    {
        Cache(TinyModel.TwoLayers());
        var report = Converter.Convert(_folder["snapshots/1"], _folder["out"], new ConvertOptions());
        Converter.Convert(_folder["plain"], _folder["expected"], new ConvertOptions());
        Assert.Equal(File.ReadAllBytes(_folder["expected/model.onnx.data"]), File.ReadAllBytes(_folder["out/model.onnx.data"]));
        Assert.Equal(ModelInspection.Of(_folder["plain"]).Bytes, ModelInspection.Of(_folder["snapshots/1"]).Bytes);
        Assert.Equal(ModelInspection.Of(_folder["plain"]).Bytes, report.BytesBefore);
    }

    /// <summary>With layers (the graph is given to ONNX Runtime as bytes) and without; the files in one real folder or in several.</summary>
    [UnixFact]
    public void Cache_DiffsAsTheFilesThemselves()
    {
        Cache(TinyLanguageModel.Create());
        Converter.Convert(_folder["plain"], _folder["out"], new ConvertOptions());
        NpyFile.WriteTokens(_folder["t.npy"], TinyLanguageModel.Tokens(32));
        var options = new DiffOptions(_folder["t.npy"]) { WindowLength = 16 };
        var expected = ModelDiff.Run(_folder["plain"], _folder["out"], options);
        Check();

        Directory.CreateDirectory(_folder["elsewhere"]);
        File.Move(RealPath.Of(_folder["snapshots/1/model.onnx.data"]), _folder["elsewhere/data"]);
        File.Delete(_folder["snapshots/1/model.onnx.data"]);
        File.CreateSymbolicLink(_folder["snapshots/1/model.onnx.data"], _folder["elsewhere/data"]);
        Check();

        void Check()
        {
            var linked = ModelDiff.Run(_folder["snapshots/1"], _folder["out"], options);
            Assert.Equal(expected.Layers, linked.Layers);
            Assert.Equal(expected.Reference.Perplexity, linked.Reference.Perplexity);
            Assert.Equal(expected.Kl, ModelDiff.Run(_folder["snapshots/1"], _folder["out"], options with { LayerWindows = 0 }).Kl);
        }
    }

    [UnixFact]
    public void Location_InALinkedSubfolder_IsFollowed()
    {
        var tiny = At("weights/w.bin");
        tiny.Save(_folder["m"]);
        Directory.CreateDirectory(_folder["store"]);
        File.Move(_folder["m/model.onnx.data"], _folder["store/w.bin"]);
        Directory.CreateSymbolicLink(_folder["m/weights"], _folder["store"]);
        Converter.Convert(_folder["m"], _folder["out"], new ConvertOptions());
        Assert.All(Verifier.Verify(_folder["out"]), c => Assert.Null(c.Fault));
    }

    [Theory]
    [InlineData("../secret.bin", "leads out of")]
    [InlineData("sub/../../secret.bin", "leads out of")]
    [InlineData("sub/../w.bin", "leads out of")]
    [InlineData("sub\\..\\..\\w.bin", "leads out of")]
    [InlineData("/etc/passwd", "is absolute")]
    [InlineData("w\0.bin", "control characters")]
    [InlineData("w\u001b[2J.bin", "control characters")]
    public void Location_ThatIsNoPlainName_IsRefused(string location, string expected)
    {
        At(location).Save(_folder["m"]);
        var message = Assert.Throws<ModelException>(() => Converter.Convert(_folder["m"], _folder["out"], new ConvertOptions())).Message;
        Assert.Contains(expected, message, StringComparison.Ordinal);
        Assert.DoesNotContain(message, char.IsControl);
    }

    private static TinyModel At(string location)
    {
        var tiny = TinyModel.TwoLayers(DataType.Float);
        foreach (var tensor in tiny.Proto.Graph.Initializer) tensor.ExternalData.Single(e => e.Key == "location").Value = location;
        return tiny;
    }

    /// <summary>plain/: the files; snapshots/1/: links to the same in blobs/.</summary>
    private void Cache(TinyModel model)
    {
        model.Save(_folder["plain"]);
        Directory.CreateDirectory(_folder["blobs"]);
        Directory.CreateDirectory(_folder["snapshots/1"]);
        foreach (var name in new[] { "model.onnx", "model.onnx.data" })
        {
            var blob = $"blobs/{name.Length:x8}";
            File.Copy(_folder["plain/" + name], _folder[blob]);
            File.CreateSymbolicLink(_folder["snapshots/1/" + name], "../../" + blob);
        }
    }
}
