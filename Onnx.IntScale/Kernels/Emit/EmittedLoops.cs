namespace Onnx.IntScale;

/// <summary>A panel kernel's emitted loops for one run length; those that fetch what <see cref="PanelArguments.Next"/> points to apart.</summary>
internal readonly unsafe struct EmittedLoops
{
    private readonly nint _two;
    private readonly nint _one;
    private readonly nint _twoFetching;
    private readonly nint _oneFetching;

    /// <summary>Emits void (PanelArguments*) by the number of panels and whether it fetches.</summary>
    public EmittedLoops(int run, Func<int, bool, nint> emit)
    {
        var fetches = run == PanelTiles.FetchRun;
        (_two, _one) = (emit(2, false), emit(1, false));
        (_twoFetching, _oneFetching) = fetches ? (emit(2, true), emit(1, true)) : (_two, _one);
    }

    /// <summary>Whether the system let them be emitted.</summary>
    public bool IsComplete => _two != 0 && _one != 0 && _twoFetching != 0 && _oneFetching != 0;

    /// <summary>Loops by log2 of the run length, 16 to 128; empty where the system forbids them.</summary>
    public static EmittedLoops[] ForEveryRun(Func<int, int, bool, nint> emit)
    {
        var loops = new EmittedLoops[8];
        for (var log2 = 4; log2 < loops.Length; log2++)
        {
            var run = 1 << log2;
            loops[log2] = new(run, (panels, fetch) => emit(run, panels, fetch));
            if (!loops[log2].IsComplete) return [];
        }

        return loops;
    }

    public void TwoPanels(PanelArguments* arguments) => Call(arguments->Next == null ? _two : _twoFetching, arguments);

    public void OnePanel(PanelArguments* arguments) => Call(arguments->Next == null ? _one : _oneFetching, arguments);

    private static void Call(nint loop, PanelArguments* arguments) => ((delegate* unmanaged[SuppressGCTransition]<PanelArguments*, void>)loop)(arguments);
}
