namespace Onnx.IntScale;

/// <summary>Codes of a channel that lie together (<see cref="PanelCodes.TileK"/>), as a constant to the compiler of a loop.</summary>
internal interface IPanelTile
{
    static abstract int K { get; }
}

/// <summary>Blocks of 16.</summary>
internal readonly struct PanelTile16 : IPanelTile
{
    public static int K => 16;
}

/// <summary>Blocks of 32.</summary>
internal readonly struct PanelTile32 : IPanelTile
{
    public static int K => 32;
}

/// <summary>Blocks of 64 and more.</summary>
internal readonly struct PanelTile64 : IPanelTile
{
    public static int K => 64;
}
