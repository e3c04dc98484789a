using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Onnx.IntScale;

/// <summary>Instruction sets that .NET does not report by itself, from CPUID.</summary>
internal static unsafe partial class CpuFeatures
{
    private const long SystemCallArchPrctl = 158;
    private const long RequestPermission = 0x1023;
    private const long TileData = 18;

    /// <summary>XCR0 bits of the xmm, ymm, mask and zmm registers.</summary>
    private const uint Avx512State = 0xE6;

    /// <summary>512-bit VPDPBUSD: CPUID leaf 7, ECX bit 11.</summary>
    public static bool Avx512Vnni { get; } = Avx512 && (Leaf7().Ecx & (1 << 11)) != 0;

    /// <summary>
    /// AMX tiles of int8: CPUID leaf 7, EDX bits 24 and 25, and Linux' permission to use their registers, which a process asks for once.
    /// </summary>
    public static bool AmxInt8 { get; } = Avx512 && (Leaf7().Edx & (3 << 24)) == 3 << 24
        && OperatingSystem.IsLinux() && SystemCall(SystemCallArchPrctl, RequestPermission, TileData) == 0;

    /// <summary>
    /// AVX-512F and BW. A JIT answers for itself (and honours DOTNET_EnableAVX512=0); code compiled ahead of time only knows what it was
    /// compiled for, so there the processor and the system are asked.
    /// </summary>
    private static bool Avx512 => RuntimeFeature.IsDynamicCodeSupported
        ? Avx512BW.IsSupported
        : (Leaf7().Ebx & ((1 << 16) | (1 << 30))) == ((1 << 16) | (1 << 30)) && (SavedRegisters() & Avx512State) == Avx512State;

    private static (int Eax, int Ebx, int Ecx, int Edx) Leaf7() => X86Base.IsSupported && X86Base.CpuId(0, 0).Eax >= 7 ? X86Base.CpuId(7, 0) : default;

    /// <summary>XCR0: the registers that the system saves for a thread; 0 where it cannot be read.</summary>
    private static uint SavedRegisters()
    {
        if ((X86Base.CpuId(1, 0).Ecx & (1 << 27)) == 0) return 0;
        var c = new Assembler(64);
        c.xor(ecx, ecx);
        c.xgetbv();
        c.ret();
        var read = ExecutableCode.Place(c);
        return read == null ? 0 : ((delegate* unmanaged<uint>)read)();
    }

    [LibraryImport("libc", EntryPoint = "syscall")]
    private static partial long SystemCall(long number, long argument0, long argument1);
}
