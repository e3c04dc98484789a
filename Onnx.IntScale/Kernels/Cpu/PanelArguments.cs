namespace Onnx.IntScale;

/// <summary>Arguments of a panel kernel's inner loops, passed by pointer so that emitted loops do not depend on the system's calling convention.</summary>
internal unsafe struct PanelArguments
{
    public sbyte* A;
    public long PanelBytes;
    public byte* Codes;
    public int* Scales;
    public int* Totals;

    /// <summary>AMX: its tile configuration.</summary>
    public byte* Configuration;

    /// <summary>AMX: where tiles are stored on their way to vector registers.</summary>
    public int* Tiles;

    /// <summary>Runs of the piece.</summary>
    public long Runs;
}
