namespace Onnx.IntScale;

/// <summary>
/// AVX512-VNNI for many rows: <see cref="Avx512PanelKernel"/> with the multiply, add and widen of 64 products in one instruction. .NET has no
/// intrinsics for its 512-bit form, so the inner loops are emitted at run time (<see cref="VnniPanelCode"/>); where the system forbids
/// executable memory the kernel is not supported and the next one serves.
/// </summary>
public static unsafe class VnniPanelKernel
{
    /// <summary>Emitted loops by log2 of the run length, 16 to 128.</summary>
    private static readonly (nint Two, nint One)[] Emitted = CpuFeatures.Avx512Vnni ? EmitAll() : [];

    /// <summary>Whether this processor has AVX512-VNNI and the system lets code be emitted.</summary>
    public static bool IsSupported => Emitted.Length > 0;

    /// <inheritdoc cref="AccumulateTile"/>
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc) => PanelTiles.Accumulate<Loops>(job, m0, m1, n0, n1, acc);

    private static (nint, nint)[] EmitAll()
    {
        var loops = new (nint, nint)[8];
        for (var log2 = 4; log2 < loops.Length; log2++)
        {
            loops[log2] = ((nint)VnniPanelCode.TwoPanels(1 << log2), (nint)VnniPanelCode.OnePanel(1 << log2));
            if (loops[log2].Item1 == 0 || loops[log2].Item2 == 0) return [];
        }

        return loops;
    }

    internal readonly struct Loops : IPanelLoops
    {
        public static (int Two, int One) Channels => (4, 8);

        public static bool SignedCodes => false;

        public static bool FetchesNext => false;

        public static int Scale(short scale) => scale;

        public static void TwoPanels(PanelArguments* arguments, int run) => Call(Emitted[System.Numerics.BitOperations.Log2((uint)run)].Two, arguments);

        public static void OnePanel(PanelArguments* arguments, int run) => Call(Emitted[System.Numerics.BitOperations.Log2((uint)run)].One, arguments);

        private static void Call(nint loop, PanelArguments* arguments) => ((delegate* unmanaged[SuppressGCTransition]<PanelArguments*, void>)loop)(arguments);
    }
}
