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

    /// <summary>Bytes of codes times rows of one call: some tens of microseconds, since a garbage collection has to wait for the end of it.</summary>
    private const long LongestCall = 1 << 18;

    /// <summary>Blocks of a row from which given zero points take one channel at a time, whose planes need less of the stack.</summary>
    private const int ManyBlocks = 1024;

    /// <summary>Whether this processor has AVX512-VNNI and the system lets code be emitted.</summary>
    public static bool IsSupported => CpuFeatures.Avx512Vnni && VnniRowFunctions.Of(4, 128) != null;

    /// <inheritdoc cref="AccumulateTile"/>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Accumulate(in MatMulJob job, int m0, int m1, int n0, int n1, int* acc)
    {
        var shape = job.Weights.Shape;
        var functions = CpuFeatures.Avx512Vnni && !RowReader.IsTooLong(shape) ? VnniRowFunctions.Of(shape.Bits, shape.BlockSize) : null;
        if (functions == null || m0 == m1)
        {
            ScalarKernel.Accumulate(job, m0, m1, n0, n1, acc);
            return;
        }

        var given = job.Weights.ZeroPoints != null;
        var oneByOne = given && shape.KBlocks > ManyBlocks;
        var planes = given ? (oneByOne ? 1 : MaxChannels) * shape.BlockSumStride : 0;
        var copy = stackalloc byte[RowReader.CopyBytes(shape)];
        var low = stackalloc short[planes];
        var high = stackalloc short[planes];
        var scaleOfLane = stackalloc short[Lanes];
        FillScaleOfLane(shape, scaleOfLane);
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
            LastLanes = uint.MaxValue >> ((Lanes - (shape.KBlocks % Lanes)) % Lanes),
            SumsStride = shape.BlockSumStride * sizeof(short),
            ScaleOfLane = scaleOfLane,
            Turns = SeveralBlocks(shape) ? (shape.RowBytes + 63) / 64 : shape.KBlocks,
            AccStride = stride * sizeof(int),
            LowHalf = 0xFFFF,
        };

        // Rows that one function takes go through many channels in one call, which keeps what a call costs off short rows.
        var parts = (m1 - m0 + VnniRowCode.MaxRows - 1) / VnniRowCode.MaxRows;
        var most = (m1 - m0 + parts - 1) / parts;
        var several = oneByOne ? 1 : VnniRowCode.Channels(most);
        var plain = Math.Min(n1, PlainRows(shape));
        for (int n = n0, channels; n < n1; n += channels)
        {
            var atOnce = n + several <= plain ? several : 1;
            var group = atOnce * (long)shape.RowBytes;
            arguments.Groups = parts == 1 && !given && n < plain ? Math.Clamp(LongestCall / (group * most), 1, (plain - n) / atOnce) : 1;
            arguments.Ahead = (FetchAhead + group - 1) / group * group;
            channels = (int)arguments.Groups * atOnce;
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
                ((delegate* unmanaged[SuppressGCTransition]<RowArguments*, void>)functions.For(rows, atOnce))(&call);
            }
        }
    }

    /// <summary>Rows of B that can be read in place: vectors of codes, and of several scales or a pair of them, may reach past the end of others.</summary>
    private static int PlainRows(MatMulShape shape)
    {
        var codes = shape.RowBytes % 64 == 0 ? 0 : 64;
        var scales = SeveralBlocks(shape) ? Lanes : 1;
        return shape.N - Math.Max((codes + shape.RowBytes - 1) / shape.RowBytes, (scales + shape.KBlocks - 1) / shape.KBlocks);
    }

    /// <summary>Whether a vector holds several blocks.</summary>
    private static bool SeveralBlocks(MatMulShape shape) => shape.BlockSize < 64 * 8 / shape.Bits;

    /// <summary>Which block of a vector each int16 lane's code belongs to, where a vector holds several.</summary>
    private static void FillScaleOfLane(MatMulShape shape, short* scaleOfLane)
    {
        if (!SeveralBlocks(shape)) return;
        var log2 = BitOperations.Log2((uint)(shape.BlockSize / (64 * 8 / shape.Bits / (Lanes / 2))));
        for (var i = 0; i < Lanes; i++) scaleOfLane[i] = (short)((i / 2) >> log2);
    }

    private static void FillPlanes(in WeightView w, int n, short* low, short* high)
    {
        for (var g0 = 0; g0 < w.Shape.KBlocks; g0 += ZeroPointPlanes.Step) ZeroPointPlanes.Fill(w, n, g0, low + g0, high + g0);
    }
}
