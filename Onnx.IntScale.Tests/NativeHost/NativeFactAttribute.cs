using System.Reflection;

namespace Onnx.IntScale.Tests;

/// <summary>A test of the native library; reported as skipped, with the reason, where the build could not make it.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class NativeFactAttribute : FactAttribute
{
    public NativeFactAttribute() => Skip = NativeLibraryFile.MissingBecause;
}

/// <summary>As <see cref="NativeFactAttribute"/>, for tests that also compile a C program.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class CHostFactAttribute : FactAttribute
{
    public CHostFactAttribute() => Skip = NativeLibraryFile.MissingBecause ?? (NativeLibraryFile.CCompiler is null ? "no C compiler (cc, gcc or clang) in PATH" : null);
}

/// <summary>The native library that NativeHost.targets built beside the tests, and what it takes to use it from C.</summary>
internal static class NativeLibraryFile
{
    /// <summary>Path of the library.</summary>
    public static readonly string Path = System.IO.Path.Combine(AppContext.BaseDirectory, Setting("NativeLibrary"));

    /// <summary>Why there is no library, or null where there is.</summary>
    public static string? MissingBecause => File.Exists(Path)
        ? null
        : $"{System.IO.Path.GetFileName(Path)} was not built: that takes Linux or macOS and gcc or clang (and no -p:NativeLibrary=false)";

    /// <summary>C headers of the ONNX Runtime package.</summary>
    public static string OrtHeaders => Setting("OrtHeaders");

    /// <summary>The first C compiler in PATH, or null.</summary>
    public static string? CCompiler { get; } =
        ((string[])["cc", "gcc", "clang"])
        .SelectMany(name => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(System.IO.Path.PathSeparator).Select(folder => System.IO.Path.Combine(folder, name)))
        .FirstOrDefault(File.Exists);

    private static string Setting(string key) =>
        typeof(NativeLibraryFile).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == key).Value!;
}
