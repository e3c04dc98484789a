using System.Numerics;

namespace Onnx.IntScale.Bench;

/// <summary>
/// <see cref="VnniPanelKernel"/> with float group scales: the same loops, but the int32 sum of a run is converted, multiplied by a float
/// scale and added in float32. What the integer scale costs or saves is the difference between the two.
/// Totals are floats; with zero points of zero they begin at zero in either form.
/// </summary>
internal readonly unsafe struct FloatTwin : IPanelLoops
{
    private static readonly EmittedLoops[] Loops = VnniPanelKernel.IsSupported
        ? EmittedLoops.ForEveryRun((run, panels, fetch) => (nint)VnniPanelCode.Emit(run, panels, fetch, floatScales: true))
        : [];

    public static (int Two, int One) Channels => (VnniPanelCode.Channels(2), VnniPanelCode.Channels(1));

    public static bool SignedCodes => false;

    public static int Scale(short scale) => BitConverter.SingleToInt32Bits(scale);

    public static void TwoPanels(PanelArguments* arguments, int run) => Loops[BitOperations.Log2((uint)run)].TwoPanels(arguments);

    public static void OnePanel(PanelArguments* arguments, int run) => Loops[BitOperations.Log2((uint)run)].OnePanel(arguments);
}
