using System.Diagnostics;

namespace Onnx.IntScale.Tests;

/// <summary>
/// The host side of CUDA without a GPU: bench cuda-check and cuda-kernels on fake_driver.c, which lays its structs out as a C compiler does and
/// refuses what a driver would.
/// </summary>
public sealed class FakeDriverTests
{
    [FakeDriverFact]
    public void Check_OnTheFakeDriver_FindsNothingWrong()
    {
        // Hopper's plans, and those of a GPU that has neither clusters nor programmatic launches.
        foreach (var capability in new[] { "9", "8" })
        {
            var run = Check(("FAKE_CAPABILITY", capability));
            Assert.True(run.Code == 0, run.Out + run.Error);
            Assert.StartsWith("Fake GPU, seed 3", run.Out, StringComparison.Ordinal);
            Assert.EndsWith("30 cases, 0 mismatches\n", run.Out, StringComparison.Ordinal);
        }
    }

    [FakeDriverFact]
    public void Kernels_OnTheFakeDriver_TwinsAreTimedWhereThereAreSome()
    {
        string[] arguments = ["cuda-kernels", "--shapes", "256x64", "--blocks", "32,128", "--m", "1,16,17", "--sets", "2", "--rounds", "2", "--stream"];
        var run = Bench(arguments, ("FAKE_CAPABILITY", "9"));
        Assert.True(run.Code == 0, run.Out + run.Error);
        Assert.Matches(@"\| +K x N.* +block +\| +M=16 +\|", run.Out);
        var rows = run.Out.Split('\n').Where(l => l.Contains("float scales |", StringComparison.Ordinal)).ToList();
        Assert.Contains("quantize_b128_float16 + wgmma_b128_t16_f16 ", Assert.Single(rows), StringComparison.Ordinal);
        Assert.Equal(6, run.Out.Split('\n').Count(l => l.Contains("| intscale ", StringComparison.Ordinal)));

        run = Bench(arguments, ("FAKE_CAPABILITY", "8"));
        Assert.True(run.Code == 0, run.Out + run.Error);
        Assert.DoesNotContain("float scales", run.Out, StringComparison.Ordinal);
    }

    [FakeDriverFact]
    public void Check_OldDriver_SaysToUpdateIt()
    {
        var run = Check(("FAKE_OLD_DRIVER", "1"));
        Assert.Equal(2, run.Code);
        Assert.Contains("[ptxas fatal: Unsupported .version] failed (CUDA_ERROR_UNSUPPORTED_PTX_VERSION, as described); the driver is too old", run.Error, StringComparison.Ordinal);
    }

    [FakeDriverFact]
    public void Check_OldGpu_SaysWhatIsNeeded()
    {
        var run = Check(("FAKE_CAPABILITY", "7"));
        Assert.Equal(2, run.Code);
        Assert.Contains("Fake GPU has compute capability 7.0, and the CUDA kernels need 8.0 or later", run.Error, StringComparison.Ordinal);
    }

    [FakeDriverFact]
    public void Check_NoCaseOfSoManyRows_IsAnError()
    {
        var run = Bench(["cuda-check", "--seed", "3", "--cases", "0", "--m", "97"], ("FAKE_CAPABILITY", "9"));
        Assert.Equal(2, run.Code);
        Assert.Contains("--m 97: no case has so many rows of A", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("mismatches", run.Out, StringComparison.Ordinal);
        var none = Bench(["cuda-check", "--scaled", "--cases", "0"], ("FAKE_CAPABILITY", "9"));
        Assert.Equal(2, none.Code);
        Assert.Contains("--scaled --cases 0: no case", none.Error, StringComparison.Ordinal);
    }

    private static (int Code, string Out, string Error) Check((string Name, string Value) setting) =>
        Bench(["cuda-check", "--seed", "3", "--every", "30", "--cases", "150"], setting);

    private static (int Code, string Out, string Error) Bench(string[] arguments, (string Name, string Value) setting)
    {
        var folder = Directory.CreateTempSubdirectory("intscale-cuda-");
        try
        {
            var source = Path.Combine(AppContext.BaseDirectory, "Cuda", "fake_driver.c");
            var compiled = CliTests.Run(CliTests.Start(
                NativeLibraryFile.CCompiler!, "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-o", Path.Combine(folder.FullName, "libcuda.so.1"), source, "-lm"));
            Assert.True(compiled.Code == 0, compiled.Error);
            var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "bench.dll"), .. arguments])
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                Environment = { ["LD_LIBRARY_PATH"] = folder.FullName, [setting.Name] = setting.Value },
            };
            return CliTests.Run(Process.Start(start)!);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}

/// <summary>A test with the fake driver; skipped where it cannot be compiled or found.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class FakeDriverFactAttribute : FactAttribute
{
    public FakeDriverFactAttribute() =>
        Skip = !OperatingSystem.IsLinux() ? "needs Linux" : NativeLibraryFile.CCompiler is null ? "no C compiler (cc, gcc or clang) in PATH" : null;
}
