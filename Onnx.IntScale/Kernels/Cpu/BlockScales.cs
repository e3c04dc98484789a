using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>
/// The scales of a 256-bit vector of B: of one block, or of two or four, each on the lanes that its codes fall on. One broadcast of four
/// int16 and one byte shuffle for every block size, which is no more than the broadcast of a single int16 from memory costs.
/// </summary>
internal readonly unsafe struct BlockScales
{
    /// <summary>Both halves of an int32 lane hold the scale.</summary>
    public const uint BothHalves = 0x01_00_01_00;

    /// <summary>The low half holds the scale, the high half zero.</summary>
    public const uint LowHalf = 0x80_80_01_00;

    /// <summary>The high half holds the scale, the low half zero.</summary>
    public const uint HighHalf = 0x01_00_80_80;

    private readonly Vector256<byte> _bytesOfLanes;
    private readonly int _log2VectorsPerBlock;
    private readonly int _log2BlocksPerVector;

    /// <param name="shape">Bits and block size.</param>
    /// <param name="lane">For each byte of an int32 lane, which byte of the scale it holds; 0x80 for zero.</param>
    public BlockScales(MatMulShape shape, uint lane)
    {
        var codes = 32 * 8 / shape.Bits;
        _log2VectorsPerBlock = BitOperations.Log2((uint)Math.Max(1, shape.BlockSize / codes));
        _log2BlocksPerVector = BitOperations.Log2((uint)Math.Max(1, codes / shape.BlockSize));
        var bytes = stackalloc byte[32];
        for (var i = 0; i < 32; i++) bytes[i] = (byte)((lane >> (8 * (i & 3))) + (i * codes / 32 / shape.BlockSize * sizeof(short)));
        _bytesOfLanes = Vector256.Load(bytes);
    }

    /// <summary>The scales of B vector v; reads four int16 from where they begin.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector256<short> Of(short* scales, int v) =>
        Avx2.Shuffle(Vector256.Create(*(long*)(scales + ((v << _log2BlocksPerVector) >> _log2VectorsPerBlock))).AsByte(), _bytesOfLanes).AsInt16();
}
