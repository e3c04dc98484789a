using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Tests;

/// <summary>What a model's inputs are fed.</summary>
public sealed class LanguageModelTests
{
    /// <summary>A model that gives back what it is fed: logits = [id, position, length of mask], present = past and one more entry per token.</summary>
    private static TinyModel Echo(DataType integers)
    {
        var model = new TinyModel().Input("input_ids", integers, "batch", "tokens").Input("attention_mask", integers, "batch", "total").Input("position_ids", integers, "batch", "tokens");
        model.Input("past_key_values.0.key", DataType.Float16, "batch", 2, "past", 4).Output("logits", DataType.Float, "batch", "tokens", "vocabulary");
        model.Output("present.0.key", DataType.Float16, "batch", 2, "length", 4);
        model.Inline("last", DataType.Int64, [2], 1).Inline("one", DataType.Float16, [1], 1).Inline("entry", DataType.Int64, [1, 2, 1, 4], 4);
        var toFloat = Ops.Attribute("to", (long)DataType.Float);
        model.Node("Cast", "c0", ["input_ids"], ["ids"], toFloat).Node("Unsqueeze", "u0", ["ids", "last"], ["a"]);
        model.Node("Cast", "c1", ["position_ids"], ["positions"], toFloat).Node("Unsqueeze", "u1", ["positions", "last"], ["b"]);
        model.Node("Cast", "c2", ["attention_mask"], ["mask"], toFloat).Node("ReduceSum", "sum", ["mask"], ["length"]);
        model.Node("Mul", "zero", ["b", "b"], ["bb"]).Node("Sub", "zeros", ["bb", "bb"], ["z"]).Node("Add", "spread", ["z", "length"], ["c"]);
        model.Node("Concat", "cat", ["a", "b", "c"], ["logits"], Ops.Attribute("axis", 2));
        return model.Node("Expand", "grow", ["one", "entry"], ["more"]).Node("Concat", "cache", ["past_key_values.0.key", "more"], ["present.0.key"], Ops.Attribute("axis", 2));
    }

    [Theory]
    [InlineData(DataType.Int64)]
    [InlineData(DataType.Int32)]
    public void Run_FeedsIdsPositionsMaskAndCache(DataType integers)
    {
        using var folder = new TempFolder();
        using var model = LanguageModel.Open(ModelFile.Load(Echo(integers).Save(folder["m"])));
        Assert.Equal(("logits", 3), (model.Logits, model.Vocabulary));
        Assert.Equal([("past_key_values.0.key", "present.0.key")], model.Cache);

        using var first = model.Run([7, 8, 9], ["logits", "present.0.key"]);
        Assert.Equal([7, 0, 3, 8, 1, 3, 9, 2, 3], first[0].GetTensorDataAsSpan<float>().ToArray());
        Assert.Equal([1, 2, 1, 4], first[1].GetTensorTypeAndShape().Shape);

        using var next = model.Run([5], ["logits", "present.0.key"], new Dictionary<string, Microsoft.ML.OnnxRuntime.OrtValue> { ["past_key_values.0.key"] = first[1] }, 3);
        Assert.Equal([5, 3, 4], next[0].GetTensorDataAsSpan<float>().ToArray());
        Assert.Equal([1, 2, 2, 4], next[1].GetTensorTypeAndShape().Shape);
    }

    [Fact]
    public void Open_Taps_GiveInnerValuesAndLeaveTheModelAlone()
    {
        using var folder = new TempFolder();
        var file = ModelFile.Load(TinyLanguageModel.Create().Save(folder["m"]));
        using var model = LanguageModel.Open(file, taps: ["r", "logits"]);
        Assert.Single(file.Proto.Graph.Output);
        using var values = model.Run([3], ["r", "logits"]);
        Assert.Equal([1, 1, 96], values[0].GetTensorTypeAndShape().Shape);
        var expected = TinyLanguageModel.Logits(3);
        Assert.All(values[1].GetTensorDataAsSpan<float>().ToArray().Select((v, i) => (v, i)), p => Assert.Equal(expected[p.i], p.v, 1e-4));
    }

    [Fact]
    public void Stop_EndsRunsAsACancellation()
    {
        using var folder = new TempFolder();
        using var model = LanguageModel.Open(ModelFile.Load(TinyLanguageModel.Create().Save(folder["m"])));
        model.Run([3], ["logits"]).Dispose();
        model.Stop();
        Assert.Throws<OperationCanceledException>(() => model.Run([3], ["logits"]));
    }

    [Fact]
    public void Open_LogitsThatAreNoFloats_AreRefused()
    {
        using var folder = new TempFolder();
        var model = new TinyModel().Input("input_ids", DataType.Int64, "batch", "tokens").Output("copy", DataType.Int64, "batch", "tokens").Node("Identity", "copy", ["input_ids"], ["copy"]);
        var message = Assert.Throws<ModelException>(() => LanguageModel.Open(ModelFile.Load(model.Save(folder["m"])))).Message;
        Assert.Contains("no float output of shape [batch, tokens, vocabulary]", message, StringComparison.Ordinal);
    }
}
