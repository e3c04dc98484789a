using System.Numerics;
using System.Runtime.CompilerServices;

namespace Onnx.IntScale;

/// <summary>
/// AVX512-VNNI for few rows, vector lanes along k, on the stored layout. .NET has no intrinsics for the 512-bit instructions, so whole dot
/// products are emitted at run time (<see cref="VnniRowCode"/>); where the system forbids executable memory the next kernel serves.
/// Rows go by up to eight, so that codes are unpacked once for them; channels by four or two.
/// </summary>
public static unsafe class VnniRowKernel
{
    private const int MaxChannels = 4;
    private const int Lanes = 32;

    /// <summary>Bytes ahead of the codes in use that are fetched, at least: less comes too late for short rows.</summary>
    private const int FetchAhead = 8192;

    private const int BlockSizes = 5;

    /// <summary>Emitted functions [bits, block size, rows, log2 channels], each when it is first needed: there are many, and a model needs few.</summary>
    private static readonly nint[] Functions = new nint[2 * BlockSizes * (VnniRowCode.MaxRows + 1) * 3];

    /// <summary>Whether this processor has AVX512-VNNI and the system lets code be emitted.</summary>
    public static bool IsSupported { get; } = CpuFeatures.Avx512Vnni && Function(new(128, 1, 4, 128), 1, 1) != 0;

    /// <inheritdoc cref="AccumulateTile"/>
    [SkipLocalsInit]
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc)
    {
        var shape = job.Weights.Shape;
        if (RowReader.IsTooLong(shape))
        {
            ScalarKernel.Accumulate(job, m0, m1, n0, n1, acc);
            return;
        }

        var given = job.Weights.ZeroPoints != null;
        var copy = stackalloc byte[RowReader.CopyBytes(shape)];
        var low = stackalloc short[given ? MaxChannels * shape.BlockSumStride : 0];
        var high = stackalloc short[given ? MaxChannels * shape.BlockSumStride : 0];
        var scaleOfLane = stackalloc short[Lanes];
        var reader = new RowReader(job.Weights, copy);
        var stride = n1 - n0;
        var arguments = new RowArguments
        {
            AStride = shape.ActivationStride,
            BStride = shape.RowBytes,
            ScalesStride = shape.KBlocks * sizeof(short),
            High = high,
            LowStride = (given ? shape.BlockSumStride : shape.KBlocks) * sizeof(short),
            HighStride = shape.BlockSumStride * sizeof(short),
            LowVectors = shape.BlockSumStride / Lanes,
            HighVectors = given ? shape.BlockSumStride / Lanes : 0,
            LastLanes = (long)(uint.MaxValue >> ((Lanes - (shape.KBlocks % Lanes)) % Lanes)),
            SumsStride = shape.BlockSumStride * sizeof(short),
            ScaleOfLane = scaleOfLane,
            Turns = FillScaleOfLane(shape, scaleOfLane),
            AccStride = stride * sizeof(int),
            LowHalf = 0xFFFF,
        };

        // Rows that one function takes go through all channels in one call, which keeps what a call costs off short rows.
        var parts = (m1 - m0 + VnniRowCode.MaxRows - 1) / VnniRowCode.MaxRows;
        var most = (m1 - m0 + parts - 1) / parts;
        var plain = Math.Min(n1, PlainRows(shape));
        for (int n = n0, channels; n < n1; n += channels)
        {
            var atOnce = n + VnniRowCode.Channels(most) <= plain ? VnniRowCode.Channels(most) : 1;
            arguments.Groups = parts == 1 && !given && n < plain ? (plain - n) / atOnce : 1;
            channels = (int)arguments.Groups * atOnce;
            var group = atOnce * (long)shape.RowBytes;
            arguments.Ahead = (FetchAhead + group - 1) / group * group;
            var b = job.Weights.Block(n, 0);
            var scales = job.Weights.ScalesOf(n);
            if (n >= plain) reader.Row(n, out b, out scales);
            for (var i = 0; given && i < channels; i++) FillPlanes(job.Weights, n + i, low + (i * shape.BlockSumStride), high + (i * shape.BlockSumStride));
            for (int m = m0, rows; m < m1; m += rows)
            {
                rows = Math.Min(most, m1 - m);
                var call = arguments with
                {
                    A = job.A8 + (m * (long)shape.ActivationStride),
                    B = b,
                    Scales = scales,
                    Low = given ? low : scales,
                    Sums = job.BlockSums + (m * (long)shape.BlockSumStride),
                    Acc = acc + ((m - m0) * stride) + (n - n0),
                };
                ((delegate* unmanaged[SuppressGCTransition]<RowArguments*, void>)Function(shape, rows, atOnce))(&call);
            }
        }
    }

    /// <summary>Rows of B that can be read in place: vectors of codes, and of several scales or a pair of them, may reach past the end of others.</summary>
    private static int PlainRows(MatMulShape shape)
    {
        var codes = shape.RowBytes % 64 == 0 ? 0 : 64;
        var scales = shape.BlockSize < 64 * 8 / shape.Bits ? Lanes : 1;
        return shape.N - Math.Max((codes + shape.RowBytes - 1) / shape.RowBytes, (scales + shape.KBlocks - 1) / shape.KBlocks);
    }

    /// <summary>Which block of a vector each int16 lane's code belongs to, where a vector holds several.</summary>
    /// <returns>Turns of the emitted loop.</returns>
    private static int FillScaleOfLane(MatMulShape shape, short* scaleOfLane)
    {
        var codes = 64 * 8 / shape.Bits;
        if (shape.BlockSize >= codes) return shape.KBlocks;
        var log2 = BitOperations.Log2((uint)(shape.BlockSize / (codes / (Lanes / 2))));
        for (var i = 0; i < Lanes; i++) scaleOfLane[i] = (short)((i / 2) >> log2);
        return (shape.RowBytes + 63) / 64;
    }

    private static void FillPlanes(in WeightView w, int n, short* low, short* high)
    {
        for (var g0 = 0; g0 < w.Shape.KBlocks; g0 += ZeroPointPlanes.Step) ZeroPointPlanes.Fill(w, n, g0, low + g0, high + g0);
    }

    private static nint Function(MatMulShape shape, int rows, int channels)
    {
        var form = (shape.Bits / 8 * BlockSizes) + BitOperations.Log2((uint)shape.BlockSize) - 4;
        ref var function = ref Functions[(((form * (VnniRowCode.MaxRows + 1)) + rows) * 3) + BitOperations.Log2((uint)channels)];
        return function != 0 ? function : EmitOnce(ref function, shape, rows, channels);
    }

    private static nint EmitOnce(ref nint function, MatMulShape shape, int rows, int channels)
    {
        lock (Functions)
        {
            if (function == 0) Volatile.Write(ref function, (nint)VnniRowCode.Emit(rows, channels, shape.Bits, shape.BlockSize));
            return function;
        }
    }
}
