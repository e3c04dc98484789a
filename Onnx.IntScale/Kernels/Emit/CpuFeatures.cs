using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>Instruction sets that .NET does not report by themselves, from CPUID.</summary>
internal static partial class CpuFeatures
{
    private const long SystemCallArchPrctl = 158;
    private const long RequestPermission = 0x1023;
    private const long TileData = 18;

    /// <summary>
    /// 512-bit VPDPBUSD: CPUID leaf 7, ECX bit 11. That the system saves the registers follows from .NET's own check of AVX-512BW, which also
    /// honours DOTNET_EnableAVX512=0.
    /// </summary>
    public static bool Avx512Vnni { get; } = Avx512BW.IsSupported && (Leaf7().Ecx & (1 << 11)) != 0;

    /// <summary>
    /// AMX tiles of int8: CPUID leaf 7, EDX bits 24 and 25, and Linux' permission to use their registers, which a process asks for once.
    /// </summary>
    public static bool AmxInt8 { get; } = Avx512BW.IsSupported && (Leaf7().Edx & (3 << 24)) == 3 << 24
        && OperatingSystem.IsLinux() && SystemCall(SystemCallArchPrctl, RequestPermission, TileData) == 0;

    private static (int Eax, int Ebx, int Ecx, int Edx) Leaf7() => X86Base.IsSupported && X86Base.CpuId(0, 0).Eax >= 7 ? X86Base.CpuId(7, 0) : default;

    [LibraryImport("libc", EntryPoint = "syscall")]
    private static partial long SystemCall(long number, long argument0, long argument1);
}
