using System.Text.RegularExpressions;
using Onnx.IntScale.Bench;

namespace Onnx.IntScale.Tests;

/// <summary>The models that <c>bench write-model</c> writes.</summary>
public sealed class WrittenModelTests
{
    private static readonly LlamaShape Tiny = LlamaShape.All.Single(s => s.Name == "tiny");

    [Fact]
    public void Graph_IsThatOfClassics()
    {
        using var folder = new TempFolder();
        var written = Forms(Write(folder["tiny"], WeightForm.Float));
        var classics = Forms(ModelFile.Load(Repo.At("models/classics-13m")));
        Assert.Equal(classics.Order(StringComparer.Ordinal), written.Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData(ElementType.Float16)]
    [InlineData(ElementType.Float)]
    internal void QuantizedForms_AreWhatTheConverterMakes(ElementType type)
    {
        using var folder = new TempFolder();
        var written = Write(folder["f"], WeightForm.Float, type);
        Converter.Convert(written.ModelPath, folder["converted"], new ConvertOptions());
        var converted = ModelFile.Load(folder["converted"]);
        var direct = Write(folder["i"], WeightForm.IntScale4, type);
        Assert.Equal(Contents(converted), Contents(direct));

        NBitsModel.Write(converted, folder["twin.onnx"], replace: false, _ => { });
        var twin = Contents(ModelFile.Load(folder["twin.onnx"])).Select(t => t.Bytes).Order(StringComparer.Ordinal);
        Assert.Equal(Contents(Write(folder["n"], WeightForm.MatMulNBits4, type)).Select(t => t.Bytes).Order(StringComparer.Ordinal), twin);
    }

    [Fact]
    public void Forms_ComputeAboutTheSame()
    {
        using var folder = new TempFolder();
        var tokens = Enumerable.Range(0, 96).Select(i => i * 37 % Tiny.Vocabulary).ToArray();
        var (floats, nBits, intScale) = (Tops(WeightForm.Float), Tops(WeightForm.MatMulNBits4), Tops(WeightForm.IntScale4));
        Assert.InRange(ModelProbe.Agreement(nBits, intScale), 0.9, 1);
        Assert.InRange(ModelProbe.Agreement(floats, intScale), 0.5, 1);

        int[] Tops(WeightForm form)
        {
            using var model = LanguageModel.Open(Write(folder[$"{form}"], form));
            using var values = model.Run(tokens, [model.Logits]);
            var logits = TensorRows.Of(values[0], "logits");
            var row = new float[logits.Columns];
            return [.. Enumerable.Range(0, tokens.Length).Select(i =>
            {
                logits.Load(i, row);
                Assert.All(row, v => Assert.True(float.IsFinite(v)));
                return Array.IndexOf(row, row.Max());
            })];
        }
    }

    [Fact]
    public void Seed_DecidesTheWeights()
    {
        using var first = new RandomTensors(1).Normal("w", 1 << 21, 0.5);
        using var again = new RandomTensors(1).Normal("w", 1 << 21, 0.5);
        using var other = new RandomTensors(2).Normal("w", 1 << 21, 0.5);
        Assert.True(Bytes(first).SequenceEqual(Bytes(again)));
        Assert.False(Bytes(first).SequenceEqual(Bytes(other)));
        var values = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, Half>(Bytes(first)).ToArray().Select(v => (double)v).ToList();
        Assert.InRange(values.Average(), -0.002, 0.002);
        Assert.InRange(Math.Sqrt(values.Average(v => v * v)), 0.495, 0.505);

        static Span<byte> Bytes(TensorBuffer buffer) => buffer.Slice(0, (int)buffer.Length);
    }

    private static ModelFile Write(string folder, WeightForm form, ElementType type = ElementType.Float16)
    {
        LlamaModel.Write(Path.Combine(folder, "model.onnx"), Tiny, new LlamaOptions(form, type), replace: false, _ => { });
        return ModelFile.Load(folder);
    }

    /// <summary>Every kind of node, input, output and initializer; numbers of layers and sizes left out.</summary>
    private static HashSet<string> Forms(ModelFile model)
    {
        var graph = model.Proto.Graph;
        string[] forms =
        [
            .. graph.Node.Select(n => $"{n.Name} {n.Domain} {n.OpType} ({string.Join(", ", n.Input)}) ({string.Join(", ", n.Output)}) "
                + string.Join(", ", n.Attribute.Select(a => a.Name.EndsWith("num_heads", StringComparison.Ordinal) ? a.Name : $"{a}"))),
            .. graph.Input.Concat(graph.Output).Select(v => $"{v.Name} {v.Type.TensorType.ElemType} {string.Join(", ", v.Type.TensorType.Shape.Dim.Select(d => d.HasDimParam ? d.DimParam : "n"))}"),
            .. graph.Initializer.Select(t => $"{t.Name} {t.DataType} {t.Dims.Count}"),
            .. model.Proto.OpsetImport.Select(o => $"{o}"),
        ];
        return [.. forms.Select(f => Regex.Replace(f, @"(layers|past_key_values|present)\.\d+", "$1.i"))];
    }

    private static List<(string Name, string Bytes)> Contents(ModelFile model) =>
    [
        .. model.Proto.Graph.Initializer.Select(t =>
        {
            using var data = model.Read(t);
            return (t.Name, Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(data.Slice(0, (int)data.Length))));
        }).OrderBy(t => t.Name, StringComparer.Ordinal),
    ];
}
