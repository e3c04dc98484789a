namespace Onnx.IntScale.Tests;

public sealed class TokenSamplerTests
{
    [Fact]
    public void Draw_IsTheInverseOfTheCumulativeDistribution()
    {
        float[] logits = [MathF.Log(1), MathF.Log(2), MathF.Log(4), MathF.Log(1)];
        var drawn = Enumerable.Range(0, 8).Select(i => TokenSampler.Draw(logits, (i + 0.5) / 8));
        Assert.Equal([0, 1, 1, 2, 2, 2, 2, 3], drawn);
        Assert.Equal(0, TokenSampler.Draw(logits, 0));
        Assert.Equal(3, TokenSampler.Draw(logits, 1 - 1e-16));
    }

    [Fact]
    public void Draw_TopKAndTemperature_NarrowTheChoice()
    {
        float[] logits = [1, 3, 2, 0];
        var places = Enumerable.Range(0, 100).Select(i => (i + 0.5) / 100).ToArray();
        Assert.Equal([1, 2], places.Select(p => TokenSampler.Draw(logits, p, topK: 2)).Distinct().Order());
        Assert.Equal([0, 1, 2, 3], places.Select(p => TokenSampler.Draw(logits, p)).Distinct().Order());
        Assert.Equal([1], places.Select(p => TokenSampler.Draw(logits, p, temperature: 0.01)).Distinct());
    }

    [Fact]
    public void Draw_NonFiniteLogits_GiveNone()
    {
        Assert.Equal(-1, TokenSampler.Draw([1, float.NaN, 2], 0.5));
        Assert.Equal(-1, TokenSampler.Draw([1, float.PositiveInfinity, 2], 0.5));
    }

    [Fact]
    public void Sample_DependsOnTheSeedAlone_AndFollowsTheModel()
    {
        using var folder = new TempFolder();
        var model = TinyLanguageModel.Create().Save(folder["a"]);
        var options = new SampleOptions { Count = 300, WindowLength = 16, Seed = 3 };
        var tokens = TokenSampler.Sample(model, options);
        Assert.Equal(300, tokens.Length);
        Assert.Equal(tokens, TokenSampler.Sample(model, options));
        Assert.NotEqual(tokens, TokenSampler.Sample(model, options with { Seed = 4 }));

        // The model sees one token back, so that every token is drawn from its own logits after the one before, across windows too.
        var random = new Random(3);
        Assert.Equal(random.Next(TinyLanguageModel.Vocabulary), tokens[0]);
        for (var i = 1; i < tokens.Length; i++)
            Assert.Equal(TokenSampler.Draw([.. TinyLanguageModel.Logits(tokens[i - 1]).Select(v => (float)v)], random.NextDouble()), tokens[i]);
    }

    [Theory]
    [InlineData(0, 512, 1, 0)]
    [InlineData(10, 1, 1, 0)]
    [InlineData(10, 512, 0, 0)]
    [InlineData(10, 512, double.NaN, 0)]
    [InlineData(10, 512, 1, -1)]
    public void Options_ThatMakeNoSense_AreRefused(int count, int window, double temperature, int topK) =>
        Assert.NotNull(new SampleOptions { Count = count, WindowLength = window, Temperature = temperature, TopK = topK }.Fault());
}
