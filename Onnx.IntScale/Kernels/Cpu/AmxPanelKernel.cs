using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Onnx.IntScale;

/// <summary>
/// AMX int8 tiles for many rows, on <see cref="PanelTiles"/>; .NET has no intrinsics for them, so the inner loops are emitted
/// (<see cref="AmxPanelCode"/>). Where the system grants neither tiles nor executable memory the next kernel serves.
/// </summary>
public static unsafe class AmxPanelKernel
{
    private static readonly nint EnterCode = CpuFeatures.AmxInt8 ? (nint)AmxPanelCode.EmitEnter() : 0;
    private static readonly nint LeaveCode = CpuFeatures.AmxInt8 ? (nint)AmxPanelCode.EmitLeave() : 0;

    private static readonly EmittedLoops[] Emitted =
        EnterCode != 0 && LeaveCode != 0 ? EmittedLoops.ForEveryRun((run, panels, fetch) => (nint)AmxPanelCode.Emit(run, panels, fetch)) : [];

    /// <summary>Tile configurations by log2 of the run length, 64 bytes each.</summary>
    private static readonly nint[] Configurations = [.. Enumerable.Range(0, Emitted.Length).Select(Configuration)];

    /// <summary>Whether this processor has AMX int8, and the system lets it and emitted code be used.</summary>
    public static bool IsSupported => Emitted.Length > 0;

    /// <inheritdoc cref="AccumulateTile"/>
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc) => PanelTiles.Accumulate<Loops>(job, m0, m1, n0, n1, acc);

    private static nint Configuration(int log2Run)
    {
        var configuration = (byte*)NativeMemory.AlignedAlloc(64, 64);
        AmxPanelCode.Configuration(1 << log2Run).CopyTo(new Span<byte>(configuration, 64));
        return (nint)configuration;
    }

    private readonly struct Loops : IPanelLoops
    {
        public static (int Two, int One) Channels => (AmxPanelCode.Channels, AmxPanelCode.Channels);

        public static bool SignedCodes => true;

        public static int Scale(short scale) => scale;

        public static void Enter(int run) => ((delegate* unmanaged[SuppressGCTransition]<nint, void>)EnterCode)(Configurations[BitOperations.Log2((uint)run)]);

        public static void Leave() => ((delegate* unmanaged[SuppressGCTransition]<void>)LeaveCode)();

        [SkipLocalsInit]
        public static void TwoPanels(PanelArguments* arguments, int run)
        {
            var room = stackalloc byte[AmxPanelCode.TilesBytes + 64];
            arguments->Tiles = Aligned(room);
            Emitted[BitOperations.Log2((uint)run)].TwoPanels(arguments);
        }

        [SkipLocalsInit]
        public static void OnePanel(PanelArguments* arguments, int run)
        {
            var room = stackalloc byte[AmxPanelCode.TilesBytes + 64];
            arguments->Tiles = Aligned(room);
            Emitted[BitOperations.Log2((uint)run)].OnePanel(arguments);
        }

        /// <summary>Tiles are stored a cache line a row: an aligned one, or every row would cross two.</summary>
        private static int* Aligned(byte* room) => (int*)(((long)room + 63) & -64);
    }
}
