using System.Globalization;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Microsoft.ML.OnnxRuntime;

namespace Onnx.IntScale.Bench;

/// <summary>What a timing means nothing without.</summary>
/// <param name="Cpu">Name of the processor; on Linux from /proc/cpuinfo.</param>
/// <param name="Cores">Logical processors that this process may use.</param>
/// <param name="InstructionSets">Those that matter to the kernels.</param>
/// <param name="Caches">Caches of the first core, as the system tells them; a virtual machine may tell its host's.</param>
/// <param name="MemoryGib">Memory that this process may use.</param>
/// <param name="Os">Operating system.</param>
/// <param name="Dotnet">.NET version.</param>
/// <param name="OnnxRuntime">Version of the native library.</param>
internal sealed record Machine(
    string Cpu, int Cores, string InstructionSets, string Caches, double MemoryGib, string Os, string Dotnet, string OnnxRuntime)
{
    private const string CpuFolder = "/sys/devices/system/cpu/cpu0/cache";

    /// <summary>Describes this machine. Call it while an environment that may be made by default is no harm: it makes one.</summary>
    public static Machine Describe() => new(
        CpuName(),
        Environment.ProcessorCount,
        string.Join(", ", Sets().Where(s => s.Supported).Select(s => s.Name)),
        string.Join(", ", DataCaches().Select(c => $"{c.Name} {c.Bytes >> 10} KiB")),
        Math.Round(GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 1073741824.0, 1),
        $"{RuntimeInformation.OSDescription} ({RuntimeInformation.OSArchitecture})",
        Environment.Version.ToString(),
        OrtEnv.Instance().GetVersionString());

    /// <summary>Bytes of the largest cache, or 0 where the system does not tell.</summary>
    public static long LastLevelCache() => DataCaches().Select(c => c.Bytes).DefaultIfEmpty(0).Max();

    private static string CpuName()
    {
        const string Key = "model name";
        var line = File.Exists("/proc/cpuinfo") ? File.ReadLines("/proc/cpuinfo").FirstOrDefault(l => l.StartsWith(Key, StringComparison.Ordinal)) : null;
        return line?[(line.IndexOf(':') + 1)..].Trim()
            ?? Environment.GetEnvironmentVariable("PROCESSOR_IDENTIFIER")
            ?? RuntimeInformation.ProcessArchitecture.ToString();
    }

    private static IEnumerable<(string Name, bool Supported)> Sets() =>
    [
        ("AVX2", Avx2.IsSupported),
        ("AVX-VNNI", AvxVnni.IsSupported),
        ("AVX-512", Avx512BW.VL.IsSupported),
        ..CpuFlags(("avx512_vnni", "AVX512-VNNI"), ("amx_int8", "AMX-INT8"), ("asimddp", "DotProd"), ("i8mm", "I8MM")),
    ];

    /// <summary>Instruction sets that .NET has no class to ask, from /proc/cpuinfo.</summary>
    private static IEnumerable<(string Name, bool Supported)> CpuFlags(params (string Flag, string Name)[] wanted)
    {
        var line = File.Exists("/proc/cpuinfo")
            ? File.ReadLines("/proc/cpuinfo").FirstOrDefault(l => l.StartsWith("flags", StringComparison.Ordinal) || l.StartsWith("Features", StringComparison.Ordinal))
            : null;
        var flags = (line ?? "").Split([' ', '\t']);
        return wanted.Select(w => (w.Name, flags.Contains(w.Flag)));
    }

    /// <summary>Data caches, the nearest first.</summary>
    private static IEnumerable<(string Name, long Bytes)> DataCaches()
    {
        if (!Directory.Exists(CpuFolder)) yield break;
        foreach (var folder in Directory.EnumerateDirectories(CpuFolder, "index*").Order(StringComparer.Ordinal))
        {
            string Read(string name) => File.ReadAllText(Path.Combine(folder, name)).Trim();
            if (Read("type") == "Instruction") continue;
            var size = Read("size");
            var unit = size[^1] switch { 'K' => 1L << 10, 'M' => 1L << 20, 'G' => 1L << 30, _ => 1L };
            yield return ($"L{Read("level")}", unit * long.Parse(size.TrimEnd('K', 'M', 'G'), CultureInfo.InvariantCulture));
        }
    }
}
