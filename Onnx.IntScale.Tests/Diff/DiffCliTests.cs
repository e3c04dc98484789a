using System.Text.Json;

namespace Onnx.IntScale.Tests;

/// <summary>diff and sample as a user runs them: exit codes, default tokens, JSON on stdout only.</summary>
public sealed class DiffCliTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public DiffCliTests()
    {
        TinyLanguageModel.Create().Save(_folder["in"]);
        Converter.Convert(_folder["in"], _folder["out"], new ConvertOptions());
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void SampleThenDiff_NeedsNoTokensOption()
    {
        var sample = CliTests.Run("sample", _folder["in"], _folder["in/eval_tokens.npy"], "--count", "64", "--window", "16");
        Assert.Equal(0, sample.Code);
        Assert.Contains("64 tokens", sample.Out, StringComparison.Ordinal);
        var diff = CliTests.Run("diff", _folder["in"], _folder["out"], "--window", "16");
        Assert.Equal(0, diff.Code);
        Assert.Contains("perplexity, reference", diff.Out, StringComparison.Ordinal);
        Assert.Contains("worst local SQNR: ", diff.Out, StringComparison.Ordinal);
        Assert.Contains("64 tokens in 4 windows of 16", diff.Out, StringComparison.Ordinal);

        var again = CliTests.Run("sample", _folder["in"], _folder["in/eval_tokens.npy"], "--count", "64");
        Assert.Equal(2, again.Code);
        Assert.Contains("--force", again.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--max-kl", "1e-9", 1)]
    [InlineData("--max-kl", "10", 0)]
    [InlineData("--min-top1", "1", 1)]
    [InlineData("--min-top1", "0", 0)]
    [InlineData("--min-top1", "95", 2)]
    [InlineData("--max-kl", "-1", 2)]
    public void Thresholds_SetTheExitCode(string option, string value, int code)
    {
        NpyFile.WriteTokens(_folder["t.npy"], TinyLanguageModel.Tokens(512));
        var run = CliTests.Run("diff", _folder["in"], _folder["out"], "--tokens", _folder["t.npy"], "--json", option, value);
        Assert.Equal(code, run.Code);
        if (code != 0) Assert.Contains(option, run.Error, StringComparison.Ordinal);
        if (code != 2) Assert.Equal(512, JsonDocument.Parse(run.Out).RootElement.GetProperty("tokens").GetInt32());
    }

    [Fact]
    public void Diff_WithoutTokens_SaysHowToMakeThem()
    {
        var run = CliTests.Run("diff", _folder["in"], _folder["out"]);
        Assert.Equal(2, run.Code);
        Assert.Contains($"intscale -- sample {_folder["in"]} {_folder["in/eval_tokens.npy"]}", run.Error, StringComparison.Ordinal);
        Assert.Single(run.Error.TrimEnd().Split('\n'));
    }
}
