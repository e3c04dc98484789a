using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale;

/// <summary>
/// A piece of K of up to 32 channels as panel kernels read it: a byte a code, in the panels' order of k, in tiles of 16 channels that lie
/// one after the other as an AMX tile's rows do, which also keeps channels off each other's cache sets:
/// <code>
/// codes   [channels / 16, Piece / T, 16, T]     T = TileK(run)
/// scales  [channels, MaxRuns]
/// </code>
/// A run is the consecutive k that share a scale: a block, or a chunk of a larger one.
/// </summary>
internal static unsafe class PanelCodes
{
    /// <summary>Codes of a channel that are unpacked together: two panels of activations for them fill two thirds of an L1 cache.</summary>
    public const int Piece = 1024;

    /// <summary>Channels unpacked together.</summary>
    public const int Channels = 32;

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

    /// <summary>Codes and scales of k0..k1 of some channels.</summary>
    /// <param name="w">The weights.</param>
    /// <param name="n">First channel.</param>
    /// <param name="channels">How many there are.</param>
    /// <param name="filled">How many are wanted: the last one is repeated.</param>
    /// <param name="k0">First k, a multiple of a piece.</param>
    /// <param name="k1">One past the last k.</param>
    /// <param name="plane">What becomes of a code.</param>
    /// <param name="next">Stored codes of the first channel to fetch meanwhile, or null.</param>
    /// <param name="codes">The codes' place.</param>
    /// <param name="scales">The scales' place.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TLoops>(in WeightView w, int n, int channels, int filled, int k0, int k1, CodePlane plane, byte* next, byte* codes, int* scales)
        where TLoops : struct, IPanelLoops
    {
        var shape = w.Shape;
        if (shape.Bits == 4 && shape.BlockSize >= ActivationOrder.Chunk && (plane == CodePlane.Low || w.ZeroPoints == null))
        {
            UnpackChunks<TLoops>(w, n, channels, filled, k0, k1, plane, next, codes, scales);
            return;
        }

        var run = RunLength(shape);
        var bytes = (k1 - k0) * shape.Bits / 8;
        var runs = (k1 - k0) >> BitOperations.Log2((uint)run);
        var log2RunsPerBlock = BitOperations.Log2((uint)(shape.BlockSize / run));
        var allRuns = ((k1 - k0 + ActivationOrder.Chunk - 1) & -ActivationOrder.Chunk) >> BitOperations.Log2((uint)run);
        var g0 = k0 >> BitOperations.Log2((uint)shape.BlockSize);
        var offsets = stackalloc byte[MaxRuns];
        new Span<byte>(offsets, MaxRuns).Fill((byte)(plane == CodePlane.Signed ? shape.DefaultZeroPoint : 0));
        for (var i = 0; i < filled; i++, scales += MaxRuns)
        {
            var channel = Math.Min(i, channels - 1);
            if (plane == CodePlane.Signed && w.ZeroPoints != null)
            {
                for (var r = 0; r < runs; r++) offsets[r] = (byte)w.ZeroPoint(n + channel, g0 + (r >> log2RunsPerBlock));
            }

            var fetch = next == null ? null : next + (channel * (long)shape.RowBytes);
            Unpack(shape, w.Block(n + channel, g0), bytes, plane, offsets, fetch, codes + ChannelAt(i, run));
            var source = w.ScalesOf(n + channel) + g0;
            for (var r = 0; r < runs; r++) scales[r] = TLoops.Scale(source[r >> log2RunsPerBlock]);
            for (var r = runs; r < allRuns; r++) scales[r] = 0;
        }
    }

    /// <summary>The case that matters most: 4 bits, blocks of 128 or 256, one offset for all codes; a line of stored codes is a run.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void UnpackChunks<TLoops>(in WeightView w, int n, int channels, int filled, int k0, int k1, CodePlane plane, byte* next, byte* codes, int* scales)
        where TLoops : struct, IPanelLoops
    {
        var shape = w.Shape;
        var lines = (k1 - k0) / ActivationOrder.Chunk;
        var log2RunsPerBlock = BitOperations.Log2((uint)(shape.BlockSize / ActivationOrder.Chunk));
        var g0 = k0 >> BitOperations.Log2((uint)shape.BlockSize);
        var first = w.Block(n, g0);
        var firstScale = w.ScalesOf(n) + g0;
        var nibble = Vector512.Create((byte)0xF);
        var offset = Vector512.Create((byte)(plane == CodePlane.Signed ? shape.DefaultZeroPoint : 0));
        for (var i = 0; i < filled; i++, scales += MaxRuns)
        {
            long channel = Math.Min(i, channels - 1);
            var row = first + (channel * shape.RowBytes);
            for (var fetched = 0; next != null && fetched < lines; fetched++) Sse.Prefetch0(next + (channel * shape.RowBytes) + (fetched * Vector));
            var tile = codes + ChannelAt(i, ActivationOrder.Chunk);
            for (var line = 0; line < lines; line++, row += Vector, tile += 2 * TileChannels * Vector)
            {
                var p = Vector512.Load(row);
                ((p & nibble) - offset).Store(tile);
                (((p.AsUInt16() >>> 4).AsByte() & nibble) - offset).Store(tile + (TileChannels * Vector));
            }

            var source = firstScale + (channel * shape.KBlocks);
            for (var r = 0; r < lines; r++) scales[r] = TLoops.Scale(source[r >> log2RunsPerBlock]);
        }
    }

    /// <summary>One channel's codes.</summary>
    private static void Unpack(MatMulShape shape, byte* row, int bytes, CodePlane plane, byte* offsets, byte* next, byte* codes)
    {
        var whole = bytes & -Vector;
        UnpackVectors(shape, row, whole, plane, offsets, next, codes);
        if (whole == bytes) return;

        var last = stackalloc byte[Vector];
        new Span<byte>(last, Vector).Clear();
        new ReadOnlySpan<byte>(row + whole, bytes - whole).CopyTo(new Span<byte>(last, Vector));
        var k = whole * 8 / shape.Bits;
        UnpackVectors(shape, last, Vector, plane, offsets + (k / RunLength(shape)), null, codes + (k * TileChannels));
    }

    private static void UnpackVectors(MatMulShape shape, byte* row, int bytes, CodePlane plane, byte* offsets, byte* next, byte* codes)
    {
        if (shape.Bits == 8) UnpackBytes(row, bytes, plane, RunLength(shape), next, codes);
        else if (shape.BlockSize >= ActivationOrder.Chunk) UnpackNibbles(row, bytes, offsets, next, codes);
        else UnpackSmallBlocks(row, bytes, shape.BlockSize, offsets, next, codes);
    }

    /// <summary>64 bytes hold a chunk, which is a run: a tile row of even k and one of odd k.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void UnpackNibbles(byte* row, int bytes, byte* offsets, byte* next, byte* codes)
    {
        var nibble = Vector512.Create((byte)0xF);
        for (var i = 0; i < bytes; i += Vector, codes += 2 * TileChannels * Vector, offsets++)
        {
            if (next != null) Sse.Prefetch0(next + i);
            var p = Vector512.Load(row + i);
            var offset = Vector512.Create(*offsets);
            ((p & nibble) - offset).Store(codes);
            (((p.AsUInt16() >>> 4).AsByte() & nibble) - offset).Store(codes + (TileChannels * Vector));
        }
    }

    /// <summary>The same for blocks of 16, 32 and 64: half a tile row of a block's even k, half a row of its odd k.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void UnpackSmallBlocks(byte* row, int bytes, int blockSize, byte* offsets, byte* next, byte* codes)
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
            for (var j = 0; j < Vector; j += half, codes += TileChannels * blockSize, offsets++)
            {
                Move(both + j, codes, half, *offsets);
                Move(both + Vector + j, codes + half, half, *offsets);
            }
        }
    }

    /// <summary>8-bit codes, in the order of k: half of their bits, or q - 128, which is the top bit flipped.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void UnpackBytes(byte* row, int bytes, CodePlane plane, int run, byte* next, byte* codes)
    {
        var (shift, kept, flipped) = plane switch
        {
            CodePlane.Low => (0, 0x0F, 0),
            CodePlane.High => (4, 0x0F, 0),
            _ => (0, 0xFF, 0x80),
        };
        var (mask, flip) = (Vector512.Create((byte)kept), Vector512.Create((byte)flipped));
        var tile = TileK(run);
        var plain = stackalloc byte[Vector];
        for (var i = 0; i < bytes; i += Vector)
        {
            if (next != null) Sse.Prefetch0(next + i);
            (((Vector512.Load(row + i).AsUInt16() >>> shift).AsByte() & mask) ^ flip).Store(plain);
            for (var j = 0; j < Vector; j += tile, codes += TileChannels * tile) Move(plain + j, codes, tile, 0);
        }
    }

    /// <summary>8, 16, 32 or 64 bytes, less an offset.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Move(byte* from, byte* to, int bytes, byte offset)
    {
        if (bytes == 64) (Vector512.Load(from) - Vector512.Create(offset)).Store(to);
        else if (bytes == 32) (Vector256.Load(from) - Vector256.Create(offset)).Store(to);
        else if (bytes == 16) (Vector128.Load(from) - Vector128.Create(offset)).Store(to);
        else (Vector64.Load(from) - Vector64.Create(offset)).Store(to);
    }
}

/// <summary>What a kernel multiplies instead of a stored code q.</summary>
internal enum CodePlane
{
    /// <summary>4 bits: q; 8 bits: its low half. Zero points are owed.</summary>
    Low,

    /// <summary>8 bits: the high half of q.</summary>
    High,

    /// <summary>q less its zero point, as a signed byte: nothing is owed.</summary>
    Signed,
}
