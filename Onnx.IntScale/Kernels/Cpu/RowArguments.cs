namespace Onnx.IntScale;

/// <summary>Arguments of <see cref="VnniRowCode"/>; strides in bytes.</summary>
internal unsafe struct RowArguments
{
    /// <summary>Activations of the first row, in the order of rows.</summary>
    public sbyte* A;
    public long AStride;

    /// <summary>Stored codes of the first channel.</summary>
    public byte* B;
    public long BStride;

    /// <summary>How far ahead of the codes in use others are fetched.</summary>
    public long Ahead;

    /// <summary>Stored scales of the first channel.</summary>
    public short* Scales;
    public long ScalesStride;

    /// <summary>Zero-point planes of the first channel (<see cref="ZeroPointPlanes"/>), and the vectors of them.</summary>
    public short* Low;
    public long LowStride;
    public short* High;
    public long HighStride;
    public long LowVectors;
    public long HighVectors;

    /// <summary>Elements of a plane's last vector that exist: what lies behind may be nobody's memory.</summary>
    public long LastLanes;

    /// <summary>Block sums of the first row.</summary>
    public short* Sums;
    public long SumsStride;

    /// <summary>Which of a vector's scales each int16 lane takes, where it holds several blocks: 32 int16.</summary>
    public short* ScaleOfLane;

    /// <summary>Turns of the loop: blocks, or vectors where a vector holds several.</summary>
    public long Turns;

    /// <summary>Destination of the first row and channel.</summary>
    public int* Acc;
    public long AccStride;

    /// <summary>Groups of channels to go through; the addresses above move along and are used up.</summary>
    public long Groups;

    /// <summary>0xFFFF.</summary>
    public long LowHalf;
}
