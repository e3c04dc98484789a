using System.Security.Cryptography;
using System.Text;

namespace Onnx.IntScale.Tests;

/// <summary>The compiled CUDA kernels that are committed are those of the sources beside them, and hold every kernel.</summary>
public class CompiledKernelTests
{
    private static readonly string Sources = Repo.At("Onnx.IntScale/Kernels/Cuda");

    [Fact]
    public void Compiled_IsOfTheseSources()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var files = Directory.GetFiles(Sources).Where(f => Path.GetExtension(f) is ".cu" or ".cuh").OrderBy(f => Path.GetFileName(f), StringComparer.Ordinal);
        foreach (var file in files) hash.AppendData(File.ReadAllBytes(file));
        var recorded = File.ReadAllText(Path.Combine(Sources, "Compiled", "SOURCES.sha256")).Trim();
        Assert.True(recorded == Convert.ToHexStringLower(hash.GetHashAndReset()), "the CUDA sources have changed since they were compiled; run tools/cuda/build.sh and commit Compiled/");
    }

    [Fact]
    public void Resources_AreTheCompiledFiles()
    {
        var assembly = typeof(CudaModules).Assembly;
        var files = Directory.GetFiles(Path.Combine(Sources, "Compiled")).Where(f => Path.GetExtension(f) is ".cubin" or ".ptx").ToArray();
        Assert.NotEmpty(files);
        foreach (var file in files)
        {
            using var resource = assembly.GetManifestResourceStream(Path.GetFileName(file));
            Assert.NotNull(resource);
            Assert.Equal(new FileInfo(file).Length, resource.Length);
        }
    }

    [Fact]
    public void EveryKernel_IsInItsModule()
    {
        CudaDevice hopper = new(9, 0, 132, 232448), other = new(12, 0, 170, 101376);
        foreach (var module in CudaKernels.All.GroupBy(k => k.Module))
        {
            var images = new[] { hopper, other }.Select(d => TryImage(module.Key, d)).OfType<(string Name, byte[] Bytes)>().ToArray();
            Assert.NotEmpty(images);
            foreach (var (name, bytes) in images)
            {
                var text = Encoding.Latin1.GetString(bytes);
                foreach (var kernel in module) Assert.True(text.Contains(name.EndsWith(".ptx", StringComparison.Ordinal) ? $".entry {kernel.Name}(" : $".text.{kernel.Name}\0", StringComparison.Ordinal), $"{name} lacks {kernel.Name}");
            }
        }
    }

    private static (string Name, byte[] Bytes)? TryImage(string module, CudaDevice device)
    {
        try
        {
            return CudaModules.Image(module, device);
        }
        catch (CudaException)
        {
            return null;
        }
    }
}
