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
    /// <summary>Emitted loops and their tile configuration by log2 of the run length, 8 to 128.</summary>
    private static readonly (nint Two, nint One, nint Configuration)[] Loops = CpuFeatures.AmxInt8 ? EmitAll() : [];

    /// <summary>Whether this processor has AMX int8, and the system lets it and emitted code be used.</summary>
    public static bool IsSupported => Loops.Length > 0;

    /// <inheritdoc cref="AccumulateTile"/>
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc) => PanelTiles.Accumulate<Amx>(job, m0, m1, n0, n1, acc);

    private static (nint, nint, nint)[] EmitAll()
    {
        var loops = new (nint, nint, nint)[8];
        for (var log2 = 3; log2 < loops.Length; log2++)
        {
            var configuration = (byte*)NativeMemory.AlignedAlloc(64, 64);
            AmxPanelCode.Configuration(1 << log2).CopyTo(new Span<byte>(configuration, 64));
            loops[log2] = ((nint)AmxPanelCode.Emit(1 << log2, panels: 2), (nint)AmxPanelCode.Emit(1 << log2, panels: 1), (nint)configuration);
            if (loops[log2].Item1 == 0 || loops[log2].Item2 == 0) return [];
        }

        return loops;
    }

    private readonly struct Amx : IPanelLoops
    {
        public static (int Two, int One) Channels => (AmxPanelCode.Channels, AmxPanelCode.Channels);

        public static int Scale(short scale) => scale;

        public static void TwoPanels(PanelArguments* arguments, int run) => Call(Loops[BitOperations.Log2((uint)run)].Two, arguments, run);

        public static void OnePanel(PanelArguments* arguments, int run) => Call(Loops[BitOperations.Log2((uint)run)].One, arguments, run);

        [SkipLocalsInit]
        private static void Call(nint loop, PanelArguments* arguments, int run)
        {
            // Tiles are stored a cache line a row: an aligned one, or every row would cross two.
            var room = stackalloc byte[(4 * AmxPanelCode.TileBytes) + 64];
            arguments->Tiles = (int*)(((long)room + 63) & -64);
            arguments->Configuration = (byte*)Loops[BitOperations.Log2((uint)run)].Configuration;
            ((delegate* unmanaged[SuppressGCTransition]<PanelArguments*, void>)loop)(arguments);
        }
    }
}
