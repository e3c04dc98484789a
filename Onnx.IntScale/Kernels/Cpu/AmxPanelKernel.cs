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

    /// <summary>Emitted loops and their tile configuration by log2 of the run length, 16 to 128.</summary>
    private static readonly Emitted[] Loops = EnterCode != 0 && LeaveCode != 0 ? EmitAll() : [];

    /// <summary>Whether this processor has AMX int8, and the system lets it and emitted code be used.</summary>
    public static bool IsSupported => Loops.Length > 0;

    /// <inheritdoc cref="AccumulateTile"/>
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc) => PanelTiles.Accumulate<Amx>(job, m0, m1, n0, n1, acc);

    private static Emitted[] EmitAll()
    {
        var loops = new Emitted[8];
        for (var log2 = 4; log2 < loops.Length; log2++)
        {
            var run = 1 << log2;
            var configuration = (byte*)NativeMemory.AlignedAlloc(64, 64);
            AmxPanelCode.Configuration(run).CopyTo(new Span<byte>(configuration, 64));
            var two = (nint)AmxPanelCode.Emit(run, panels: 2, fetch: false);
            var one = (nint)AmxPanelCode.Emit(run, panels: 1, fetch: false);
            var fetches = run == PanelTiles.FetchRun;
            var twoFetching = fetches ? (nint)AmxPanelCode.Emit(run, panels: 2, fetch: true) : two;
            var oneFetching = fetches ? (nint)AmxPanelCode.Emit(run, panels: 1, fetch: true) : one;
            if (two == 0 || one == 0 || twoFetching == 0 || oneFetching == 0) return [];
            loops[log2] = new((nint)configuration, two, one, twoFetching, oneFetching);
        }

        return loops;
    }

    private readonly record struct Emitted(nint Configuration, nint Two, nint One, nint TwoFetching, nint OneFetching);

    private readonly struct Amx : IPanelLoops
    {
        public static (int Two, int One) Channels => (AmxPanelCode.Channels, AmxPanelCode.Channels);

        public static bool SignedCodes => true;

        public static bool FetchesNext => true;

        public static int Scale(short scale) => scale;

        public static void Enter(int run) => ((delegate* unmanaged[SuppressGCTransition]<nint, void>)EnterCode)(Of(run).Configuration);

        public static void Leave() => ((delegate* unmanaged[SuppressGCTransition]<void>)LeaveCode)();

        public static void TwoPanels(PanelArguments* arguments, int run) => Call(arguments->Next == null ? Of(run).Two : Of(run).TwoFetching, arguments);

        public static void OnePanel(PanelArguments* arguments, int run) => Call(arguments->Next == null ? Of(run).One : Of(run).OneFetching, arguments);

        private static Emitted Of(int run) => Loops[BitOperations.Log2((uint)run)];

        [SkipLocalsInit]
        private static void Call(nint loop, PanelArguments* arguments)
        {
            // Tiles are stored a cache line a row: an aligned one, or every row would cross two.
            var room = stackalloc byte[AmxPanelCode.TilesBytes + 64];
            arguments->Tiles = (int*)(((long)room + 63) & -64);
            ((delegate* unmanaged[SuppressGCTransition]<PanelArguments*, void>)loop)(arguments);
        }
    }
}
