using System.Text.Json;
using Onnx.IntScale.Tool;

namespace Onnx.IntScale.Tests;

/// <summary>The tool's own parts, in process.</summary>
public sealed class CliUnitTests
{
    public static TheoryData<Exception, int, string> Ends => new()
    {
        { new ModelException("m.onnx", "is bad", "mend it"), 2, "m.onnx: is bad; mend it" },
        { new OrtException("ONNX Runtime 1.20 is too old; use 1.29"), 2, "ONNX Runtime 1.20 is too old; use 1.29" },
        { new IOException("No space left on device."), 2, "No space left on device; check free space and permissions" },
        { new OperationCanceledException(), 130, "stopped; nothing was written" },
        { new DllNotFoundException("onnxruntime"), 2, "ONNX Runtime's native library cannot be loaded (onnxruntime); build the tool again for this machine" },
    };

    [Theory]
    [MemberData(nameof(Ends))]
    public void Explain_WhatIsNoDefect_IsNotCalledOne(Exception e, int code, string message) => Assert.Equal((code, message), Cli.Explain(e));

    [Fact]
    public void Explain_AnythingElse_IsADefect() => Assert.Contains("a defect of intscale: NullReferenceException", Cli.Explain(new NullReferenceException()).Message, StringComparison.Ordinal);

    [Fact]
    public void Json_NumbersAreNeverStrings()
    {
        var options = new JsonSerializerOptions { Converters = { new FiniteNumberConverter() } };
        double? missing = null;
        Assert.Equal("[1.5,null,null]", JsonSerializer.Serialize(new[] { 1.5, double.NaN, double.PositiveInfinity }, options));
        Assert.Equal("[null,2]", JsonSerializer.Serialize(new[] { missing, 2 }, options));
        var report = new DiffReport(1, 1, 1, new("a", double.NaN), new("b", 2), double.PositiveInfinity, new(0, 0, 0, double.NaN), 1, new(0, 0, 0), []);
        var json = JsonDocument.Parse(report.ToJson()).RootElement;
        Assert.Equal(JsonValueKind.Null, json.GetProperty("perplexity_ratio").ValueKind);
        Assert.Equal(JsonValueKind.Null, json.GetProperty("reference").GetProperty("perplexity").ValueKind);
        Assert.Equal(2, json.GetProperty("converted").GetProperty("perplexity").GetDouble());
    }

    [Fact]
    public void Program_InACheckout_IsRunThroughItsProject()
    {
        Assert.Equal("dotnet run -c Release --project tools/intscale --", Invocation.Program(AppContext.BaseDirectory, Repo.Root));
        Assert.Equal("dotnet run -c Release --project intscale --", Invocation.Program(Repo.At("tools/intscale/bin/Release/net10.0/"), Repo.At("tools")));
        using var elsewhere = new TempFolder();
        Assert.Equal("intscale", Invocation.Program(elsewhere.Path, Repo.Root));
    }

    /// <summary>What is printed for the user to type reaches a program as the arguments that were meant.</summary>
    [UnixFact]
    public void Quote_IsUndoneByTheShell()
    {
        string[] args = ["plain/path-1.onnx", "with space/model.onnx", "it's", "$HOME `id` \"x\" *", "", "ünïcode", "a;b"];
        var run = CliTests.Run(CliTests.Start("sh", "-c", "printf '%s\\n' " + string.Join(' ', args.Select(Invocation.Quote))));
        Assert.Equal(string.Join('\n', args) + "\n", run.Out);
        Assert.Equal("plain/path-1.onnx", Invocation.Quote(args[0]));
    }

    [Fact]
    public void Convert_NextCommand_CanBeTyped()
    {
        using var folder = new TempFolder();
        TinyLanguageModel.Create().Save(folder["in"]);
        var without = CliTests.Run("convert", folder["in"], folder["my out"]).Out;
        Assert.Contains($"Next:    dotnet run -c Release --project tools/intscale -- sample {folder["in"]}/model.onnx '{folder["my out"]}/eval_tokens.npy'\n", without, StringComparison.Ordinal);
        Assert.Contains($"-- diff {folder["in"]}/model.onnx '{folder["my out"]}/model.onnx' --tokens '{folder["my out"]}/eval_tokens.npy'\n", without, StringComparison.Ordinal);
        NpyFile.WriteTokens(folder["in/eval_tokens.npy"], TinyLanguageModel.Tokens(512));
        var with = CliTests.Run("convert", folder["in"], folder["other out"]).Out;
        Assert.EndsWith($"Next:    dotnet run -c Release --project tools/intscale -- diff {folder["in"]}/model.onnx '{folder["other out"]}/model.onnx'\n", with, StringComparison.Ordinal);
    }

    [Fact]
    public void Progress_LongStep_IsRepeatedAndShortWorkIsQuiet()
    {
        using var lines = new CountingWriter();
        var result = ProgressLine.RunPlain("working", report =>
        {
            report("one long step", 0.25);
            // On a busy machine a line may come before the report.
            var before = lines.Seen;
            Assert.True(SpinWait.SpinUntil(() => lines.Seen >= before + 4, TimeSpan.FromMinutes(1)));
            return 7;
        }, lines, TimeSpan.FromMilliseconds(50), TimeSpan.FromMilliseconds(20));
        Assert.Equal(7, result);
        var shown = lines.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.All(shown.TakeLast(3), l => Assert.Equal("working: 25 % (one long step)", l.TrimEnd()));

        using var quiet = new StringWriter();
        ProgressLine.RunPlain("working", report => 0, quiet, TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(1));
        Assert.Empty(quiet.ToString());
    }

    private sealed class CountingWriter : StringWriter
    {
        public int Seen { get; private set; }

        public override void WriteLine(string? value)
        {
            base.WriteLine(value);
            Seen++;
        }
    }
}
