using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale.Tests;

/// <summary>A driver, libcuda.so.1, that runs the CUDA kernels of this checkout on the CPU: their sources, translated and compiled by g++.</summary>
public sealed class EmulatedGpu : IDisposable
{
    private static readonly string Kernels = Repo.At("Onnx.IntScale/Kernels/Cuda");
    private static readonly string Machine = Path.Combine(AppContext.BaseDirectory, "Cuda", "Emulator");
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("intscale-emulator-");

    public EmulatedGpu()
    {
        if (EmulatorFactAttribute.MissingBecause != null) return;
        Translate();
        // The one that takes longest first.
        string[] sources = [.. CudaKernels.All.Select(k => k.Module).Distinct().OrderByDescending(m => m).Select(m => In($"{m}.cu")), .. Directory.GetFiles(Machine, "*.cpp")];
        Parallel.ForEach(Partitioner.Create(sources, loadBalance: true), Compile);
        Link(Directory.GetFiles(_folder.FullName, "*.o"));
    }

    /// <summary>With a fault in a file of wgmma's.</summary>
    private EmulatedGpu(EmulatedGpu sound, string file, (string Text, string Instead)[] edits)
    {
        Translate();
        var source = File.ReadAllText(In(file));
        foreach (var (text, instead) in edits)
        {
            Assert.Contains(text, source, StringComparison.Ordinal);
            source = source.Replace(text, instead, StringComparison.Ordinal);
        }

        File.WriteAllText(In(file), source);
        string[] faulty = [.. CudaKernels.All.Select(k => k.Module).Where(m => m.StartsWith("wgmma_", StringComparison.Ordinal)).Distinct().Select(m => $"{m}.cu")];
        Parallel.ForEach(Partitioner.Create(faulty, loadBalance: true), source => Compile(In(source)));
        Link([.. faulty.Select(f => In($"{f}.o")), .. Directory.GetFiles(sound._folder.FullName, "*.o").Where(o => !faulty.Contains(Path.GetFileNameWithoutExtension(o)))]);
    }

    /// <summary>The same with a fault in a file of wgmma's: other text for some.</summary>
    internal EmulatedGpu WithFault(string file, params (string Text, string Instead)[] edits) => new(this, file, edits);

    /// <summary>Runs bench cuda-check.</summary>
    /// <param name="schedule">early, late or random: when what is asynchronous happens.</param>
    /// <param name="multiprocessors">Multiprocessors; where there are few, a thread block computes several tiles.</param>
    /// <param name="arguments">Arguments.</param>
    internal (int Code, string Out, string Error) Check(string schedule, int multiprocessors, params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "bench.dll"), "cuda-check", .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment = { ["LD_LIBRARY_PATH"] = _folder.FullName, ["EMULATED_SCHEDULE"] = schedule, ["EMULATED_SMS"] = $"{multiprocessors}" },
        };
        return CliTests.Run(Process.Start(start)!);
    }

    /// <inheritdoc/>
    public void Dispose() => _folder.Delete(recursive: true);

    private string In(string file) => Path.Combine(_folder.FullName, file);

    private void Translate()
    {
        foreach (var source in Directory.GetFiles(Kernels).Where(f => Path.GetExtension(f) is ".cu" or ".cuh"))
            File.WriteAllText(In(Path.GetFileName(source)), CudaSource.ToCpp(File.ReadAllText(source)));
    }

    private void Compile(string source)
    {
        // Registers of products in flight are written through their addresses; floats are rounded as written.
        string[] options = ["-std=c++20", "-fPIC", "-march=native", "-ffp-contract=off", "-fno-strict-aliasing", "-fwrapv", "-w", "-I", Machine, "-c", source, "-o", In($"{Path.GetFileName(source)}.o")];
        Run(source.EndsWith(".cu", StringComparison.Ordinal) ? ["-O1", "-include", "ptx.h", "-x", "c++", .. options] : ["-O2", .. options]);
    }

    private void Link(string[] objects) => Run(["-shared", "-o", In("libcuda.so.1"), .. objects, "-ldl"]);

    private static void Run(string[] arguments)
    {
        var run = CliTests.Run(CliTests.Start(EmulatorFactAttribute.Compiler!, arguments));
        Assert.True(run.Code == 0, run.Error);
    }
}

/// <summary>A test on emulated CUDA kernels; skipped where they cannot be compiled or run.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class EmulatorFactAttribute : FactAttribute
{
    public EmulatorFactAttribute() => Skip = MissingBecause;

    /// <summary>g++, or null.</summary>
    internal static string? Compiler { get; } = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Select(folder => Path.Combine(folder, "g++")).FirstOrDefault(File.Exists);

    /// <summary>Why there is no emulator, or null.</summary>
    internal static string? MissingBecause => !OperatingSystem.IsLinux() || !Avx2.X64.IsSupported ? "needs Linux on x86-64 with AVX2" : Compiler is null ? "no g++ in PATH" : null;
}
