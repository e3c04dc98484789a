using System.Diagnostics;
using Microsoft.ML.OnnxRuntime;

namespace Onnx.IntScale.Tests;

/// <summary>The native library, which other languages load, gives the bits of the formula and refuses what the .NET operator refuses.</summary>
public class NativeLibraryTests
{
    [NativeFact]
    public void RegisterCustomOpLibraryV2_SameBitsAsInProcess()
    {
        foreach (var type in Enum.GetValues<ElementType>())
        {
            var c = new OpCase { K = 300, N = 200, BlockSize = 64, Type = type, WithZeroPoints = true, WithBias = true }.Fill();
            var a = c.Activations(20);
            using var native = NativeSession(c.Model(), threads: 2);
            using var inProcess = OpRunner.Session(c.Model(), threads: 2);
            var y = OpRunner.Run(native, c, a, 4, 5, c.K).Y;
            OpRunner.AssertSameBits(c, OpReference.Compute(c, a, 20), y);
            OpRunner.AssertSameBits(c, OpRunner.Run(inProcess, c, a, 4, 5, c.K).Y, y);
        }
    }

    [NativeFact]
    public void Refusal_NamesNodeAndRemedy()
    {
        var c = new OpCase().Fill();
        c.Attributes["max_accumulator"] = 1;
        var e = Assert.Throws<OnnxRuntimeException>(() => NativeSession(c.Model(), threads: 1));
        Assert.Contains($"node '{OpCase.NodeName}'", e.Message);
        Assert.Contains("convert the model again", e.Message);
    }

    [CHostFact]
    public void CProgram_SameBitsAsInProcess()
    {
        var folder = Directory.CreateTempSubdirectory("intscale-host-");
        try
        {
            string In(string name) => Path.Combine(folder.FullName, name);
            Call(NativeLibraryFile.CCompiler!, Path.Combine(AppContext.BaseDirectory, "NativeHost", "host.c"), "-I", NativeLibraryFile.OrtHeaders, "-o", In("host"), "-ldl");

            var c = new OpCase { K = 200, N = 300, BlockSize = 32, WithZeroPoints = true, WithBias = true }.Fill();
            var a = c.Activations(9);
            File.WriteAllBytes(In("model.onnx"), c.Model());
            File.WriteAllBytes(In("A.bin"), a);
            Call(In("host"), OrtLibrary(), NativeLibraryFile.Path, In("model.onnx"), "9", "200", In("A.bin"), In("Y.bin"));

            using var inProcess = OpRunner.Session(c.Model());
            OpRunner.AssertSameBits(c, OpRunner.Run(inProcess, c, a, 1, 9, c.K).Y, File.ReadAllBytes(In("Y.bin")));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static InferenceSession NativeSession(byte[] model, int threads) =>
        OpRunner.Session(model, threads, options => options.RegisterCustomOpLibraryV2(NativeLibraryFile.Path, out _));

    /// <summary>The file of the ONNX Runtime in this process.</summary>
    private static string OrtLibrary()
    {
        using var options = new SessionOptions();
        using var process = Process.GetCurrentProcess();
        return process.Modules.Cast<ProcessModule>().First(m => m.ModuleName.StartsWith(OperatingSystem.IsWindows() ? "onnxruntime." : "libonnxruntime.", StringComparison.Ordinal)).FileName;
    }

    /// <summary>Runs a program to its end, which must come within a minute: a library that is unloaded badly hangs its process.</summary>
    private static void Call(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEndAsync();
        if (!process.WaitForExit(TimeSpan.FromMinutes(1)))
        {
            process.Kill();
            Assert.Fail($"{program} did not end");
        }

        Assert.True(process.ExitCode == 0, $"{program} ended with {process.ExitCode}: {errors.Result} {output.Result}");
    }
}
