namespace Onnx.IntScale;

/// <summary>
/// Which kernels a call uses: a panel kernel for its first rows, in panels of 16, and a row kernel for the rest.
/// Kernels are named by their place in <see cref="CpuKernels.All"/>, so that a plan is plain data.
/// </summary>
/// <param name="PanelRows">Rows that lie in panels: a multiple of 16, past M where the last panel is filled up with zeros.</param>
/// <param name="Panel">The panel kernel; used where PanelRows is not 0.</param>
/// <param name="Row">The row kernel.</param>
public readonly record struct KernelPlan(int PanelRows, int Panel, int Row)
{
    /// <summary>Rows of scratch that a call with M rows needs.</summary>
    public int ScratchRows(int m) => Math.Max(m, PanelRows);
}
