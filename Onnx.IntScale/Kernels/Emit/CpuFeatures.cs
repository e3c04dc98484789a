using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>Instruction sets that .NET does not report by themselves, from CPUID.</summary>
internal static class CpuFeatures
{
    /// <summary>
    /// 512-bit VPDPBUSD: CPUID leaf 7, ECX bit 11. That the system saves the registers follows from .NET's own check of AVX-512BW, which also
    /// honours DOTNET_EnableAVX512=0.
    /// </summary>
    public static bool Avx512Vnni { get; } = Avx512BW.IsSupported && X86Base.CpuId(0, 0).Eax >= 7 && (X86Base.CpuId(7, 0).Ecx & (1 << 11)) != 0;
}
