using System.Numerics;

namespace Onnx.IntScale;

/// <summary>
/// AVX512-VNNI for many rows: <see cref="Avx512PanelKernel"/> with the multiply, add and widen of 64 products in one instruction. .NET has no
/// intrinsics for its 512-bit form, so the inner loops are emitted at run time (<see cref="VnniPanelCode"/>); where the system forbids
/// executable memory the kernel is not supported and the next one serves.
/// </summary>
public static unsafe class VnniPanelKernel
{
    private static readonly EmittedLoops[] Emitted =
        CpuFeatures.Avx512Vnni ? EmittedLoops.ForEveryRun((run, panels, fetch) => (nint)VnniPanelCode.Emit(run, panels, fetch)) : [];

    /// <summary>Whether this processor has AVX512-VNNI and the system lets code be emitted.</summary>
    public static bool IsSupported => Emitted.Length > 0;

    /// <inheritdoc cref="AccumulateTile"/>
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc) => PanelTiles.Accumulate<Loops>(job, m0, m1, n0, n1, acc);

    internal readonly struct Loops : IPanelLoops
    {
        public static (int Two, int One) Channels => (VnniPanelCode.Channels(2), VnniPanelCode.Channels(1));

        public static bool SignedCodes => false;

        public static int Scale(short scale) => scale;

        public static void TwoPanels(PanelArguments* arguments, int run) => Emitted[BitOperations.Log2((uint)run)].TwoPanels(arguments);

        public static void OnePanel(PanelArguments* arguments, int run) => Emitted[BitOperations.Log2((uint)run)].OnePanel(arguments);
    }
}
