using System.Diagnostics;
using System.Text.Json;

namespace Onnx.IntScale.Tests;

/// <summary>The tool as a user runs it: exit codes, one error line, JSON keys.</summary>
public sealed class CliTests
{
    [Fact]
    public void Convert_ThenVerify_Works()
    {
        using var folder = new TempFolder();
        TinyModel.TwoLayers().Save(folder["in"]);
        var convert = Run("convert", folder["in"], folder["out"]);
        Assert.Equal(0, convert.Code);
        Assert.Contains("2 layers rewritten", convert.Out, StringComparison.Ordinal);
        Assert.Contains("intscale diff", convert.Out, StringComparison.Ordinal);
        var verify = Run("verify", folder["out"]);
        Assert.Equal(0, verify.Code);
        Assert.Contains("2 of 2 certificates hold", verify.Error, StringComparison.Ordinal);
        Assert.Contains("2 converted", Run("inspect", folder["out"]).Out, StringComparison.Ordinal);
    }

    [Fact]
    public void Convert_Json_HasTheKeysOthersRelyOn()
    {
        using var folder = new TempFolder();
        TinyModel.TwoLayers().Save(folder["in"]);
        var run = Run("convert", folder["in"], folder["out"], "--json", "--exclude", "second", "--block-size", "32");
        var root = JsonDocument.Parse(run.Out).RootElement;
        var layer = Assert.Single(root.GetProperty("layers").EnumerateArray());
        Assert.Equal("first", layer.GetProperty("name").GetString());
        Assert.Equal([96, 40, 4, 32, 7680], new[] { "k", "n", "bits", "block_size", "bytes_before" }.Select(k => layer.GetProperty(k).GetInt32()));
        Assert.Equal((40 * 48) + (40 * 3 * 2) + (40 * 4), layer.GetProperty("bytes_after").GetInt32());
        Assert.InRange(layer.GetProperty("weight_error").GetDouble(), 0.01, 0.2);
        Assert.InRange(layer.GetProperty("max_accumulator").GetInt64(), 1, Certificate.DefaultLimit);
        var skipped = Assert.Single(root.GetProperty("skipped").EnumerateArray());
        Assert.Equal("second", skipped.GetProperty("name").GetString());
        Assert.Contains("--exclude", skipped.GetProperty("reason").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Convert_DryRun_WritesNothing()
    {
        using var folder = new TempFolder();
        TinyModel.TwoLayers().Save(folder["in"]);
        var run = Run("convert", folder["in"], folder["out"], "--dry-run");
        Assert.Equal(0, run.Code);
        Assert.Contains("2 layers would be rewritten", run.Out, StringComparison.Ordinal);
        Assert.False(Directory.Exists(folder["out"]));
    }

    [Fact]
    public void Convert_NothingToRewrite_IsOne()
    {
        using var folder = new TempFolder();
        TinyModel.TwoLayers().Save(folder["in"]);
        var run = Run("convert", folder["in"], folder["out"], "--include", "nothing*");
        Assert.Equal(1, run.Code);
        Assert.Contains("nothing to rewrite", run.Error, StringComparison.Ordinal);
    }

    public static TheoryData<string[]> Wrong => new(
        ["convert", "nowhere", "out"],
        ["convert"],
        ["convert", "{in}", "{out}", "--block-size", "48"],
        ["convert", "{in}", "{out}", "--amplifier", "many"],
        ["convert", "{in}", "{out}", "--method", "magic"],
        ["convert", "{in}", "{out}", "--max-accumulator", "3000000000"],
        ["convert", "{in}", "{in}/deeper"],
        ["convert", "{in}", "/proc/intscale-out"],
        ["verify", "{in}"],
        ["verify", "{in}/model.onnx.data"],
        ["inspect", "{in}/none.onnx"],
        ["frobnicate"]);

    [Theory]
    [MemberData(nameof(Wrong))]
    public void Run_BadInput_IsTwoWithOneLine(string[] args)
    {
        using var folder = new TempFolder();
        TinyModel.TwoLayers().Save(folder["in"]);
        var run = Run([.. args.Select(a => a.Replace("{in}", folder["in"], StringComparison.Ordinal).Replace("{out}", folder["out"], StringComparison.Ordinal))]);
        Assert.Equal(2, run.Code);
        Assert.Contains("error: ", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("defect of intscale", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Convert_DiskFull_IsTwoAndLeavesNothing()
    {
        // /dev/full refuses every write; the data file is a link to it.
        if (!File.Exists("/dev/full")) return;
        using var folder = new TempFolder();
        TinyModel.TwoLayers().Save(folder["in"]);
        Directory.CreateDirectory(folder["out"]);
        File.CreateSymbolicLink(folder["out/model.onnx.data.partial"], "/dev/full");
        var run = Run("convert", folder["in"], folder["out"]);
        Assert.Equal(2, run.Code);
        Assert.Contains("check free space", run.Error, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(folder["out"]));
    }

    [Theory]
    [InlineData("inspect")]
    [InlineData("convert")]
    [InlineData("diff")]
    [InlineData("verify")]
    [InlineData("sample")]
    public void Help_EveryCommand_HasAnExample(string command)
    {
        var run = Run(command, "--help");
        Assert.Equal(0, run.Code);
        Assert.Contains("Example", run.Out, StringComparison.Ordinal);
        Assert.Contains($"intscale {command}", run.Out, StringComparison.Ordinal);
    }

    internal static (int Code, string Out, string Error) Run(params string[] args)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var arg in args.Prepend(Path.Combine(AppContext.BaseDirectory, "intscale.dll"))) start.ArgumentList.Add(arg);
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, error.Result);
    }
}
