namespace Onnx.IntScale.Bench;

/// <summary>A case's arrays in memory of the host.</summary>
internal sealed unsafe class CheckData : IDisposable
{
    private readonly List<TensorBuffer> _buffers = [];

    /// <summary>Draws the weights.</summary>
    public CheckData(CheckCase c)
    {
        Case = c;
        var random = new Random(c.Seed);
        var shape = c.Shape;
        B = Bytes((long)shape.N * shape.RowBytes);
        Scales = Bytes((long)shape.N * shape.KBlocks * sizeof(short));
        ChannelScales = Bytes((long)shape.N * sizeof(float));
        ZeroPoints = c.ZeroPoints ? Bytes((long)shape.N * shape.ZeroPointRowBytes) : null;
        Bias = c.Bias ? Bytes((long)shape.N * Elements.SizeOf(c.Type)) : null;
        Weights = new WeightView(shape, B.Data, (short*)Scales.Data, (float*)ChannelScales.Data, ZeroPoints == null ? null : ZeroPoints.Data);

        if (ZeroPoints != null) Fill(ZeroPoints, random);
        Fill(B, random);
        for (var n = 0; n < shape.N; n++)
        {
            FillScales(random, n);
            ((float*)ChannelScales.Data)[n] = MathF.Exp((float)(random.NextDouble() * 8) - 14) * (random.Next(8) == 0 ? -1 : 1);
            if (Bias != null) Elements.Store(c.Type, Bias.Data, n, (float)(random.NextDouble() - 0.5));
        }

        MaxAccumulator = Certificate.Compute(Weights);
    }

    public CheckCase Case { get; }

    public TensorBuffer B { get; }

    public TensorBuffer Scales { get; }

    public TensorBuffer ChannelScales { get; }

    public TensorBuffer? ZeroPoints { get; }

    public TensorBuffer? Bias { get; }

    public WeightView Weights { get; }

    /// <summary>The certificate of the weights.</summary>
    public long MaxAccumulator { get; }

    /// <summary>A [M, K].</summary>
    /// <param name="set">Number of the set; each has other numbers.</param>
    public TensorBuffer Activations(int set)
    {
        var random = new Random(unchecked(Case.Seed + 1 + set));
        var a = Bytes((long)Case.M * Case.Shape.K * Elements.SizeOf(Case.Type));
        for (var m = 0; m < Case.M; m++) FillRow(random, a, m);
        return a;
    }

    /// <inheritdoc/>
    public void Dispose() => _buffers.ForEach(b => b.Dispose());

    /// <summary>The sign by which activations and saturated weights agree, so that products add up.</summary>
    private bool Positive(int k) => (((k * 2654435761L) >> 13) & 1) == 0;

    /// <summary>Scales of channel n, as large as the limit allows; saturated channels get codes to match.</summary>
    private void FillScales(Random random, int n)
    {
        var shape = Case.Shape;
        var scales = Weights.ScalesOf(n);
        var largest = Case.LargestScale;
        var saturated = Case.Flavor == CheckFlavor.Saturated;
        for (var g = 0; g < shape.KBlocks; g++)
        {
            scales[g] = (short)(saturated ? (random.Next(2) == 0 ? -largest : largest) : random.Next(-largest, largest + 1));
            if (!saturated) continue;
            var up = (scales[g] > 0) ^ (n % 2 != 0);
            for (var i = 0; i < shape.BlockSize; i++) StoreCode(n, g, i, Positive((g * shape.BlockSize) + i) == up ? (1 << shape.Bits) - 1 : 0);
        }

        var actual = Certificate.OfRow(Weights, n);
        if (actual <= Case.Limit) return;
        var factor = Case.Limit / (double)actual;
        for (var g = 0; g < shape.KBlocks; g++) scales[g] = (short)(scales[g] * factor);
    }

    private void StoreCode(int n, int g, int i, int code)
    {
        var block = Weights.Block(n, g);
        if (Case.Shape.Bits == 8) block[i] = (byte)code;
        else block[i >> 1] = (byte)((block[i >> 1] & (0xF0 >> ((i & 1) * 4))) | (code << ((i & 1) * 4)));
    }

    private void FillRow(Random random, TensorBuffer a, int m)
    {
        var kind = Case.Flavor == CheckFlavor.OddRows ? random.Next(8) : 7;
        var odd = random.Next(Case.Shape.K);
        for (var k = 0; k < Case.Shape.K; k++)
        {
            var value = Case.Flavor == CheckFlavor.Saturated
                ? (Positive(k) == (m % 3 != 0) ? 1f : -1f)
                : (float)(random.NextDouble() - 0.5) * (random.Next(30) == 0 ? 40 : 1);
            value = kind switch
            {
                0 => 0,
                1 => value * 1e-38f,
                2 when k == odd => float.NaN,
                3 when k == odd => float.NegativeInfinity,
                4 => k == odd ? 1 : 0,
                5 => value * 1000,
                6 => value * 1e-7f,
                _ => value,
            };
            Elements.Store(Case.Type, a.Data, ((long)m * Case.Shape.K) + k, value);
        }
    }

    private static void Fill(TensorBuffer buffer, Random random)
    {
        const int Piece = 1 << 20;
        for (var i = 0L; i < buffer.Length; i += Piece) random.NextBytes(buffer.Slice(i, (int)Math.Min(Piece, buffer.Length - i)));
    }

    private TensorBuffer Bytes(long count)
    {
        var buffer = new TensorBuffer(count);
        _buffers.Add(buffer);
        return buffer;
    }
}
