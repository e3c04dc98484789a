using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>
/// A piece of K of up to 64 channels as panel kernels read it: a byte a code, in the panels' order of k, in tiles of 16 channels that lie
/// one after the other as an AMX tile's rows do, which also keeps channels off each other's cache sets:
/// <code>
/// codes   [channels / 16, Piece / T, 16, T]     T = TileK(run)
/// scales  [runs, channels]
/// </code>
/// A run is the consecutive k that share a scale: a block, or a chunk of a larger one. 8-bit codes go as two planes of nibbles.
/// </summary>
internal static unsafe class PanelCodes
{
    /// <summary>Codes of a channel that are unpacked together: two panels of activations for them fill two thirds of an L1 cache.</summary>
    public const int Piece = 1024;

    /// <summary>Channels of a tile.</summary>
    public const int TileChannels = 16;

    /// <summary>Bytes from one tile of channels to the next.</summary>
    public const int TileBytes = TileChannels * Piece;

    /// <summary>Runs of a piece at the smallest block size.</summary>
    public const int MaxRuns = Piece / 16;

    private const int Vector = 64;

    /// <summary>Consecutive k that share a scale, at most a chunk.</summary>
    public static int RunLength(MatMulShape shape) => ActivationOrder.PanelUnit(shape);

    /// <summary>Codes of a channel that lie together.</summary>
    public static int TileK(int run) => Math.Min(Vector, run);

    /// <summary>Where a channel's codes begin.</summary>
    public static int ChannelAt(int channel, int run) => (channel / TileChannels * TileBytes) + (channel % TileChannels * TileK(run));

    /// <summary>Codes k0..k1 of channel n, one plane of 4 bits, for a channel's place in the buffer.</summary>
    /// <param name="w">The weights.</param>
    /// <param name="n">Channel.</param>
    /// <param name="k0">First k, a multiple of a piece.</param>
    /// <param name="k1">One past the last k.</param>
    /// <param name="shift">Bit of a code where the plane begins: 0 or 4.</param>
    /// <param name="next">Codes to fetch meanwhile, or null.</param>
    /// <param name="codes">Where the channel's codes begin.</param>
    public static void Unpack(in WeightView w, int n, int k0, int k1, int shift, byte* next, byte* codes)
    {
        var shape = w.Shape;
        var row = w.Block(n, 0) + (k0 * shape.Bits / 8);
        var bytes = (k1 - k0) * shape.Bits / 8;
        var whole = bytes & -Vector;
        if (shape.Bits == 8) UnpackBytes(row, whole, shift, RunLength(shape), next, codes);
        else if (shape.BlockSize >= ActivationOrder.Chunk) UnpackNibbles(row, whole, next, codes);
        else UnpackSmallBlocks(row, whole, shape.BlockSize, next, codes);
        if (whole == bytes) return;

        var last = stackalloc byte[Vector];
        new Span<byte>(last, Vector).Clear();
        new ReadOnlySpan<byte>(row + whole, bytes - whole).CopyTo(new Span<byte>(last, Vector));
        codes += whole * 8 / shape.Bits * TileChannels;
        if (shape.Bits == 8) UnpackBytes(last, Vector, shift, RunLength(shape), null, codes);
        else if (shape.BlockSize >= ActivationOrder.Chunk) UnpackNibbles(last, Vector, null, codes);
        else UnpackSmallBlocks(last, Vector, shape.BlockSize, null, codes);
    }

    /// <summary>Each run's scale, for a channel's place in the buffer; zero past the last block.</summary>
    public static void ReadScales<TLoops>(in WeightView w, int n, int k0, int k1, int* scales)
        where TLoops : struct, IPanelLoops
    {
        var log2Block = BitOperations.Log2((uint)w.Shape.BlockSize);
        var source = w.ScalesOf(n);
        var end = (k1 + ActivationOrder.Chunk - 1) & -ActivationOrder.Chunk;
        for (var k = k0; k < end; k += RunLength(w.Shape), scales += PanelTiles.Channels)
            *scales = k < w.Shape.PaddedK ? TLoops.Scale(source[k >> log2Block]) : 0;
    }

    /// <summary>64 bytes hold a chunk: a tile row of even k and one of odd k.</summary>
    private static void UnpackNibbles(byte* row, int bytes, byte* next, byte* codes)
    {
        var nibble = Vector512.Create((byte)0xF);
        for (var i = 0; i < bytes; i += Vector, codes += 2 * TileChannels * Vector)
        {
            if (next != null) Sse.Prefetch0(next + i);
            var p = Vector512.Load(row + i);
            (p & nibble).Store(codes);
            ((p.AsUInt16() >>> 4).AsByte() & nibble).Store(codes + (TileChannels * Vector));
        }
    }

    /// <summary>The same for blocks of 16, 32 and 64: half a tile row of a block's even k, half a row of its odd k.</summary>
    private static void UnpackSmallBlocks(byte* row, int bytes, int blockSize, byte* next, byte* codes)
    {
        var nibble = Vector512.Create((byte)0xF);
        var both = stackalloc byte[2 * Vector];
        var half = blockSize / 2;
        for (var i = 0; i < bytes; i += Vector)
        {
            if (next != null) Sse.Prefetch0(next + i);
            var p = Vector512.Load(row + i);
            (p & nibble).Store(both);
            ((p.AsUInt16() >>> 4).AsByte() & nibble).Store(both + Vector);
            for (var j = 0; j < Vector; j += half, codes += TileChannels * blockSize)
            {
                Copy(both + j, codes, half);
                Copy(both + Vector + j, codes + half, half);
            }
        }
    }

    /// <summary>One plane of 8-bit codes.</summary>
    private static void UnpackBytes(byte* row, int bytes, int shift, int run, byte* next, byte* codes)
    {
        var nibble = Vector512.Create((byte)0xF);
        var tile = TileK(run);
        var plane = stackalloc byte[Vector];
        for (var i = 0; i < bytes; i += Vector)
        {
            if (next != null) Sse.Prefetch0(next + i);
            ((Vector512.Load(row + i).AsUInt16() >>> shift).AsByte() & nibble).Store(plane);
            for (var j = 0; j < Vector; j += tile, codes += TileChannels * tile) Copy(plane + j, codes, tile);
        }
    }

    /// <summary>8, 16, 32 or 64 bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Copy(byte* from, byte* to, int bytes)
    {
        if (bytes == 64) Vector512.Load(from).Store(to);
        else if (bytes == 32) Vector256.Load(from).Store(to);
        else if (bytes == 16) Vector128.Load(from).Store(to);
        else *(long*)to = *(long*)from;
    }
}
