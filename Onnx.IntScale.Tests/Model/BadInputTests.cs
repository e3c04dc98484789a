using Google.Protobuf;

namespace Onnx.IntScale.Tests;

/// <summary>Bad inputs end in one ModelException that names the file and a remedy, and leave no output.</summary>
public sealed class BadInputTests
{
    public static TheoryData<string, string> Faults => new()
    {
        { "text", "is not an ONNX model" },
        { "empty", "holds no graph" },
        { "truncated", "truncated" },
        { "missing data", "is missing" },
        { "short data", "has only" },
        { "offset past end", "lies past the end" },
        { "absolute location", "is absolute" },
        { "location outside", "leads out of" },
        { "wrong length", "needs 7680 bytes" },
        { "offset no number", "is not a number" },
        { "negative dim", "impossible shape" },
        { "nan", "k=5, n=3 is NaN" },
        { "converted", "converted already" },
        { "output inside input", "inside the input's folder" },
        { "output exists", "exists already" },
        { "output is a file", "is a file" },
        { "no such input", "no such file or folder" },
        { "block size", "block_size=48" },
    };

    [Theory]
    [MemberData(nameof(Faults))]
    public void Convert_BadInput_SaysWhatWhereAndRemedy(string fault, string expected)
    {
        using var folder = new TempFolder();
        var tiny = TinyModel.TwoLayers();
        var w1 = tiny.Proto.Graph.Initializer[0];
        if (fault == "negative dim") w1.Dims[0] = -96;
        if (fault == "wrong length") Entry(w1, "length", "100");
        if (fault == "offset past end") Entry(w1, "offset", "1000000");
        if (fault == "offset no number") Entry(w1, "offset", "-5");
        if (fault == "absolute location") Entry(w1, "location", "/etc/passwd");
        if (fault == "location outside") Entry(w1, "location", "../secret.bin");
        if (fault == "missing data") Entry(w1, "location", "elsewhere.data");
        var model = tiny.Save(folder["in"]);
        var options = new ConvertOptions();
        var (input, output) = (model, folder["out"]);
        switch (fault)
        {
            case "text": File.WriteAllText(model, "this is no model, it is a text"); break;
            case "empty": File.WriteAllBytes(model, []); break;
            case "truncated": File.WriteAllBytes(model, File.ReadAllBytes(model)[..^20]); break;
            case "short data": using (var data = File.OpenWrite(model + ".data")) data.SetLength(7000); break;
            case "nan": using (var data = File.OpenWrite(model + ".data")) { data.Position = ((5 * 40) + 3) * 2; data.Write([0x00, 0x7E]); } break;
            case "converted": Converter.Convert(model, folder["once"], options); input = folder["once"]; break;
            case "output inside input": output = folder["in/out"]; break;
            case "output exists": Directory.CreateDirectory(output); File.WriteAllText(Path.Combine(output, "model.onnx"), "mine"); break;
            case "output is a file": File.WriteAllText(output, "mine"); break;
            case "no such input": input = folder["nowhere"]; break;
            case "block size": options = new ConvertOptions { Quantize = new QuantizeOptions { BlockSize = 48 } }; break;
        }

        var before = Snapshot(folder.Path);
        var e = Assert.Throws<ModelException>(() => Converter.Convert(input, output, options));
        Assert.Contains(expected, e.Message, StringComparison.Ordinal);
        Assert.Contains(";", e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', e.Message);
        Assert.Equal(before, Snapshot(folder.Path));
    }

    [Fact]
    public void Load_FolderWithoutModel_SaysSo()
    {
        using var folder = new TempFolder();
        Assert.Contains("no .onnx file", Assert.Throws<ModelException>(() => ModelFile.Load(folder.Path)).Message, StringComparison.Ordinal);
        TinyModel.TwoLayers().Save(folder.Path);
        File.Move(folder["model.onnx"], folder["decoder.onnx"]);
        Assert.EndsWith("decoder.onnx", ModelFile.Load(folder.Path).ModelPath, StringComparison.Ordinal);
        File.Copy(folder["decoder.onnx"], folder["encoder.onnx"]);
        Assert.Contains("2 other", Assert.Throws<ModelException>(() => ModelFile.Load(folder.Path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("scales", "int32 can overflow")]
    [InlineData("declared", "the weights reach")]
    [InlineData("none", "declares none")]
    public void Verify_BrokenCertificate_IsFound(string fault, string expected)
    {
        using var folder = new TempFolder();
        var input = TinyModel.TwoLayers().Save(folder["in"]);
        Converter.Convert(input, folder["out"], new ConvertOptions { Quantize = new QuantizeOptions { BlockSize = 16, MaxAccumulator = 1 << 24 } });
        var model = ModelFile.Load(folder["out"]);
        var node = model.Proto.Graph.Node[0];
        var certificate = node.Attribute.Single(a => a.Name == "max_accumulator");
        if (fault == "declared") certificate.I -= 1;
        if (fault == "none") node.Attribute.Remove(certificate);
        if (fault == "scales")
        {
            // Scales of 32767 and codes of -8: 127 · 96 · 8 · 32767 is past 2^31.
            using var data = File.OpenWrite(folder["out/model.onnx.data"]);
            foreach (var (name, value) in new[] { ("w1_q4_B", new byte[] { 0, 0 }), ("w1_q4_scales", [0xFF, 0x7F]) })
            {
                var place = ExternalData.Of(model.Proto.Graph.Initializer.Single(t => t.Name == name), model.ModelPath);
                data.Position = place.Offset;
                for (var i = 0; i < place.Length / 2; i++) data.Write(value);
            }
        }

        File.WriteAllBytes(folder["out/model.onnx"], model.Proto.ToByteArray());
        var checks = Verifier.Verify(folder["out"]);
        Assert.Contains(expected, checks[0].Fault, StringComparison.Ordinal);
        Assert.Null(checks[1].Fault);
    }

    private static void Entry(TensorProto tensor, string key, string value) => tensor.ExternalData.Single(e => e.Key == key).Value = value;

    private static string[] Snapshot(string folder) =>
        [.. Directory.GetFileSystemEntries(folder, "*", SearchOption.AllDirectories).Select(f => $"{f} {(File.Exists(f) ? new FileInfo(f).Length : -1)}").Order()];
}
