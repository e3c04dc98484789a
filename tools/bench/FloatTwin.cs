using System.Numerics;

namespace Onnx.IntScale.Bench;

/// <summary>
/// <see cref="VnniPanelKernel"/> with float group scales: the same loops, but the int32 sum of a run is converted, multiplied by a float
/// scale and added in float32. What the integer scale costs or saves is the difference between the two.
/// Totals are floats; with zero points of zero they begin at zero in either form.
/// </summary>
internal readonly unsafe struct FloatTwin : IPanelLoops
{
    /// <summary>Emitted loops by log2 of the run length, 16 to 128.</summary>
    private static readonly (nint Two, nint One)[] Loops = VnniPanelKernel.IsSupported
        ? [.. Enumerable.Range(0, 8).Select(log2 => log2 < 4 ? default : ((nint)VnniPanelCode.TwoPanels(1 << log2, true), (nint)VnniPanelCode.OnePanel(1 << log2, true)))]
        : [];

    public static (int Two, int One) Channels => (4, 8);

    public static bool SignedCodes => false;

    public static bool FetchesNext => false;

    public static int Scale(short scale) => BitConverter.SingleToInt32Bits(scale);

    public static void TwoPanels(PanelArguments* arguments, int run) => Call(Loops[BitOperations.Log2((uint)run)].Two, arguments);

    public static void OnePanel(PanelArguments* arguments, int run) => Call(Loops[BitOperations.Log2((uint)run)].One, arguments);

    private static void Call(nint loop, PanelArguments* arguments) => ((delegate* unmanaged[SuppressGCTransition]<PanelArguments*, void>)loop)(arguments);
}
