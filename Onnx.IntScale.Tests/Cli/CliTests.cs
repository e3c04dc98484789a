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
        var verify = Run("verify", folder["out"]);
        Assert.Equal(0, verify.Code);
        Assert.Contains("2 of 2 certificates hold", verify.Out, StringComparison.Ordinal);
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
        [],
        ["convert"],
        ["convert", "{in}"],
        ["convert", "{in}", "{out}", "too", "many"],
        ["convert", "{in}", "{out}", "--block-size", "x"],
        ["convert", "{in}", "{out}", "--block-size"],
        ["convert", "{in}", "{out}", "--bits", "4.5"],
        ["diff", "{in}", "{in}", "--max-kl", "small"],
        ["diff", "{in}", "{in}", "--windows", "1", "--windows", "2"],
        ["convert", "{in}", ""],
        ["convert", "{in}", "{out}", "--block-size", "48"],
        ["convert", "{in}", "{out}", "--amplifier", "many"],
        ["convert", "{in}", "{out}", "--method", "magic"],
        ["convert", "{in}", "{out}", "--max-accumulator", "3000000000"],
        ["convert", "{in}", "{in}/deeper"],
        ["convert", "{in}", "/proc/intscale-out"],
        ["verify", "{in}"],
        ["verify", "{in}", "--json"],
        ["verify", "{in}/model.onnx.data"],
        ["inspect", "{in}/none.onnx"],
        ["kernels", "--cuda", "--cc", "7.5"],
        ["kernels", "--cuda", "--sm", "x"],
        ["frobnicate"]);

    [Theory]
    [MemberData(nameof(Wrong))]
    public void Run_BadInput_IsTwoWithOneLine(string[] args)
    {
        using var folder = new TempFolder();
        TinyModel.TwoLayers().Save(folder["in"]);
        var run = Run([.. args.Select(a => a.Replace("{in}", folder["in"], StringComparison.Ordinal).Replace("{out}", folder["out"], StringComparison.Ordinal))]);
        Assert.Equal(2, run.Code);
        Assert.Empty(run.Out);
        var lines = run.Error.TrimEnd('\n').Split('\n');
        Assert.StartsWith("error: ", lines[0], StringComparison.Ordinal);
        Assert.InRange(lines.Length, 1, 2);
        if (lines.Length == 2) Assert.Matches("^Type '.*--help' for usage[.]$", lines[1]);
        Assert.DoesNotContain("System.", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain('\t', run.Error);
        Assert.DoesNotContain("defect of intscale", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("inspect")]
    [InlineData("convert")]
    [InlineData("diff")]
    [InlineData("verify")]
    [InlineData("sample")]
    [InlineData("kernels")]
    public void Help_EveryCommand_HasAnExample(string command)
    {
        var run = Run(command, "--help");
        Assert.Equal(0, run.Code);
        Assert.Contains("Example", run.Out, StringComparison.Ordinal);
        Assert.Contains($"intscale {command}", run.Out, StringComparison.Ordinal);
    }

    [Fact]
    public void Kernels_Cuda_PrintsPlansWithoutAGpu()
    {
        var run = Run("kernels", "--cuda", "--k", "4096", "--n", "14336", "--cc", "8.0", "--sm", "108");
        Assert.Equal((0, ""), (run.Code, run.Error));
        Assert.Contains("compute capability 8.0 with 108 SMs", run.Out, StringComparison.Ordinal);
        Assert.Contains("| 4096   |", run.Out, StringComparison.Ordinal);
        var json = System.Text.Json.JsonDocument.Parse(Run("kernels", "--cuda", "--m", "7", "--json").Out).RootElement;
        Assert.Equal(7, json.GetProperty("plans")[0].GetProperty("m").GetInt32());
        Assert.NotEqual("", json.GetProperty("plans")[0].GetProperty("matmul").GetProperty("kernel").GetString());
    }

    /// <summary>Runs the tool in the checkout's folder, as the README does.</summary>
    [Fact]
    public void Kernels_UnknownForcedKernel_SaysWhichThereAre()
    {
        var run = Run(Start("env", [$"{CpuKernels.Variable}=avx9", "dotnet", Tool, "kernels"]));
        Assert.Equal(2, run.Code);
        Assert.Contains("there are", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("defect", run.Error, StringComparison.Ordinal);
    }

    internal static (int Code, string Out, string Error) Run(params string[] args) => Run(Start("dotnet", [Tool, .. args]));

    internal static string Tool => Path.Combine(AppContext.BaseDirectory, "intscale.dll");

    internal static Process Start(string program, params string[] args) =>
        Process.Start(new ProcessStartInfo(program, args) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = Repo.Root })!;

    internal static (int Code, string Out, string Error) Run(Process process)
    {
        using (process)
        {
            var error = process.StandardError.ReadToEndAsync();
            var output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return (process.ExitCode, output, error.Result);
        }
    }
}
