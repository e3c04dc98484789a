using System.Diagnostics;
using System.Globalization;
using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Tests;

/// <summary>Runs of the tool that something ends: a full disk, a closed or full stdout, Ctrl-C.</summary>
public sealed class BrokenRunTests
{
    /// <summary>A limit on the size of files is the full disk that needs no privilege; .NET's own need for large files is switched off.</summary>
    [LinuxFact]
    public void Convert_NoRoomForTheData_IsTwoAndLeavesNothing()
    {
        using var folder = new TempFolder();
        TinyModel.TwoLayers().Save(folder["in"]);
        Directory.CreateDirectory(folder["out"]);
        File.WriteAllText(folder["out/model.onnx"], "old");
        var run = CliTests.Run(CliTests.Start(
            "sh", "-c", "trap '' XFSZ; ulimit -f 1; export DOTNET_EnableWriteXorExecute=0; exec dotnet \"$@\"", "sh", CliTests.Tool, "convert", folder["in"], folder["out"], "--force"));
        Assert.Equal(2, run.Code);
        Assert.StartsWith($"error: {folder["out/model.onnx.data"]}: cannot be written", run.Error, StringComparison.Ordinal);
        Assert.Contains("what was there before is as it was", run.Error, StringComparison.Ordinal);
        Assert.Single(run.Error.TrimEnd('\n').Split('\n'));
        Assert.Equal("old", File.ReadAllText(Assert.Single(Directory.GetFileSystemEntries(folder["out"]))));
    }

    [LinuxFact]
    public void Convert_StdoutFull_SaysThatTheModelIsThere()
    {
        using var folder = new TempFolder();
        TinyModel.TwoLayers().Save(folder["in"]);
        var run = CliTests.Run(CliTests.Start("sh", "-c", "exec dotnet \"$@\" > /dev/full", "sh", CliTests.Tool, "convert", folder["in"], folder["out"], "--json"));
        Assert.Equal(2, run.Code);
        Assert.Contains($"the model is complete: {folder["out/model.onnx"]}", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("half-written", run.Error, StringComparison.Ordinal);
        Assert.All(Verifier.Verify(folder["out"]), c => Assert.Null(c.Fault));
    }

    [InterruptFact]
    public void Convert_CtrlC_CleansUp() => Stop("INT");

    [LinuxFact]
    public void Convert_Terminated_CleansUp() => Stop("TERM");

    /// <summary>A small layer, so that there are files to clean up, then one of half a minute without vector instructions on one thread, in which the signal comes.</summary>
    private static void Stop(string signal)
    {
        using var folder = new TempFolder();
        var tiny = new TinyModel().Input("X", DataType.Float16, "M", 64).Output("Y", DataType.Float16, "M", 1 << 16);
        tiny.External("w1", DataType.Float16, TestWeights.Normal(64, 256, 1), 64, 256);
        tiny.External("w2", DataType.Float16, [.. Enumerable.Range(0, 1 << 24).Select(i => (i % 251) - 125f)], 256, 1 << 16);
        tiny.Node("MatMul", "small", ["X", "w1"], ["h"]).Node("MatMul", "large", ["h", "w2"], ["Y"]).Save(folder["in"]);
        var process = CliTests.Start("env", "DOTNET_EnableHWIntrinsic=0", "DOTNET_PROCESSOR_COUNT=1", "dotnet", CliTests.Tool, "convert", folder["in"], folder["out"]);
        // The progress lines tell when the large layer is under way; on a busy machine the first one comes before it.
        string? line;
        do
        {
            line = process.StandardError.ReadLine();
        }
        while (line is not null && !line.Contains("(large)", StringComparison.Ordinal));
        Assert.True(line is not null, "the conversion ended before a progress line named the large layer");
        Assert.Single(Directory.GetFiles(folder["out"]));
        var clock = Stopwatch.StartNew();
        CliTests.Run(CliTests.Start("kill", "-" + signal, process.Id.ToString(CultureInfo.InvariantCulture)));
        var run = CliTests.Run(process);
        Assert.InRange(clock.Elapsed.TotalSeconds, 0, 10);
        Assert.Equal(130, run.Code);
        Assert.EndsWith("error: stopped; nothing was written\n", run.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(folder["out"]));
    }
}

/// <summary>A test that sends SIGINT, which what a shell starts in the background ignores; then reported as skipped.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class InterruptFactAttribute : FactAttribute
{
    public InterruptFactAttribute()
    {
        const string Status = "/proc/self/status";
        const string Key = "SigIgn:";
        if (!File.Exists(Status)) Skip = "needs Linux";
        else if ((ulong.Parse(File.ReadLines(Status).First(l => l.StartsWith(Key, StringComparison.Ordinal))[Key.Length..].Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture) & 2) != 0)
            Skip = "SIGINT is ignored by whatever started the tests";
    }
}
