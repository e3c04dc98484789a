namespace Onnx.IntScale;

/// <summary>Arguments of a panel kernel's inner loops, passed by pointer so that emitted loops do not depend on the system's calling convention.</summary>
internal unsafe struct PanelArguments
{
    /// <summary>The first panel's activations for the piece.</summary>
    public sbyte* A;

    /// <summary>From one panel to the next.</summary>
    public long PanelBytes;

    /// <summary>The first channel's unpacked codes, and its scales: see <see cref="PanelCodes"/>.</summary>
    public byte* Codes;
    public int* Scales;

    /// <summary>The first channel's totals in the first panel: [panel, <see cref="PanelTiles.Channels"/>, 16 rows].</summary>
    public int* Totals;

    /// <summary>Runs of the piece.</summary>
    public long Runs;

    /// <summary>What sums of products begin with, or null for zero: <see cref="PanelLaneSums"/> of the first panel for the piece, and from one panel to the next.</summary>
    public short* LaneSums;
    public long LaneSumsStride;

    /// <summary>AMX: where tiles are stored on their way to vector registers.</summary>
    public int* Tiles;

    /// <summary>What to fetch meanwhile, a cache line a channel and run, or null: stored codes that are unpacked next, or rows of Y.</summary>
    public byte* Next;

    /// <summary>From one line to fetch to the next channel's: bytes of a row of B or Y.</summary>
    public long RowBytes;
}

/// <summary>The inner loops of a panel kernel, and the form in which they want scales.</summary>
internal unsafe interface IPanelLoops
{
    /// <summary>A scale as the loops broadcast it.</summary>
    static abstract int Scale(short scale);

    /// <summary>Channels of one call of <see cref="TwoPanels"/> and of <see cref="OnePanel"/>: divisors of <see cref="PanelTiles.Channels"/>.</summary>
    static abstract (int Two, int One) Channels { get; }

    /// <summary>Whether the loops multiply signed codes, from which zero points have been taken.</summary>
    static abstract bool SignedCodes { get; }

    /// <summary>Whether sums of products can begin with <see cref="PanelLaneSums"/>.</summary>
    static virtual bool BeginsWithLaneSums => false;

    /// <summary>Called before and after a piece's loops, which all have this run length.</summary>
    static virtual void Enter(int run)
    {
    }

    /// <inheritdoc cref="Enter"/>
    static virtual void Leave()
    {
    }

    /// <summary>Some channels by two panels: totals[panel, c] += Σ over the piece.</summary>
    static abstract void TwoPanels(PanelArguments* arguments, int run);

    /// <summary>Some channels by one panel.</summary>
    static abstract void OnePanel(PanelArguments* arguments, int run);
}
