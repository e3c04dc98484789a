using FsCheck;
using FsCheck.Fluent;

namespace Onnx.IntScale.Tests;

/// <summary>How a test case's numbers are drawn.</summary>
public enum Flavor
{
    /// <summary>Random weights, scales, activations with outliers.</summary>
    Plain,

    /// <summary>Every code, scale and activation at an end of its range; sums wrap around int32.</summary>
    Saturated,

    /// <summary>Some rows of A are zero, tiny, or hold NaN or infinities.</summary>
    OddRows,
}

/// <summary>A random call of the operator, reproducible from its seed.</summary>
public sealed record KernelCase(int M, int K, int N, int Bits, int BlockSize, bool ZeroPoints, bool Bias, ElementType Type, Flavor Flavor, int Seed)
{
    /// <summary>Cases over shapes, block sizes, types and flavors, small K and N more often than large ones.</summary>
    public static Gen<KernelCase> Generator =>
        from m in Gen.Choose(0, 40)
        from k in Gen.OneOf(Gen.Choose(1, 40), Gen.Choose(1, 700))
        from n in Gen.OneOf(Gen.Choose(1, 9), Gen.Choose(1, 140))
        from bits in Gen.Elements(4, 8)
        from block in Gen.Elements(16, 32, 64, 128, 256)
        from zeroPoints in Gen.Elements(false, true)
        from bias in Gen.Elements(false, true)
        from type in Gen.Elements(ElementType.Float, ElementType.Float16, ElementType.BFloat16)
        from flavor in Gen.Elements(Flavor.Plain, Flavor.Saturated, Flavor.OddRows)
        from seed in Gen.Choose(0, int.MaxValue - 1)
        select new KernelCase(m, k, n, bits, block, zeroPoints, bias, type, flavor, seed);

    /// <summary>Checks a property on many cases; a failure names the smallest case found.</summary>
    public static void ForAll(int count, Action<KernelCase> check) =>
        Prop.ForAll(Generator.ToArbitrary(), check).Check(Config.QuickThrowOnFailure.WithMaxTest(count).WithReplay(20241103, 7));
}

/// <summary>Computes Y of a job whose rows are quantized.</summary>
public delegate void TileRun(in MatMulJob job);

/// <summary>A case's arrays in native memory, and a job over them.</summary>
public sealed unsafe class KernelMemory : IDisposable
{
    private readonly List<GuardedBlock> _blocks = [];
    private readonly byte* _scratch;
    private readonly int _scratchBytes;

    public KernelMemory(KernelCase c)
    {
        Case = c;
        var random = new Random(c.Seed);
        var shape = new MatMulShape(c.K, c.N, c.Bits, c.BlockSize);
        var b = Bytes(c.N * shape.RowBytes);
        var scales = (short*)Bytes(c.N * shape.KBlocks * sizeof(short));
        var channelScales = (float*)Bytes(c.N * sizeof(float));
        var zeroPoints = c.ZeroPoints ? Bytes(c.N * shape.ZeroPointRowBytes) : null;
        var saturated = c.Flavor == Flavor.Saturated;
        for (var i = 0; i < c.N * shape.RowBytes; i++) b[i] = (byte)(saturated ? (random.Next(2) == 0 ? 0 : 255) : random.Next(256));
        for (var i = 0; i < c.N * shape.KBlocks; i++) scales[i] = saturated ? (random.Next(2) == 0 ? short.MinValue : short.MaxValue) : (short)random.Next(-3000, 3000);
        for (var i = 0; i < c.N; i++) channelScales[i] = MathF.Exp((float)(random.NextDouble() * 8) - 10);
        for (var i = 0; c.ZeroPoints && i < c.N * shape.ZeroPointRowBytes; i++) zeroPoints[i] = (byte)random.Next(256);

        Job = new MatMulJob { Weights = new WeightView(shape, b, scales, channelScales, zeroPoints), M = c.M, Type = c.Type };
        Job.A = Bytes(c.M * c.K * Elements.SizeOf(c.Type));
        Job.Bias = c.Bias ? Bytes(c.N * Elements.SizeOf(c.Type)) : null;
        Job.Y = Bytes(YBytes);
        _scratchBytes = (int)MatMulJob.ScratchBytes(shape, c.M + ActivationOrder.PanelRows);
        _scratch = Bytes(_scratchBytes);
        Use(null);
        for (var m = 0; m < c.M; m++) FillRow(random, m);
        for (var n = 0; c.Bias && n < c.N; n++) Elements.Store(c.Type, Job.Bias, n, (float)(random.NextDouble() - 0.5));
    }

    public KernelCase Case { get; }

    public MatMulJob Job;

    private int YBytes => Case.M * Case.N * Elements.SizeOf(Case.Type);

    /// <summary>Scratch as the kernel wants it, poisoned, so that whatever is not written shows; null for the best kernels.</summary>
    public Span<byte> Use(CpuKernel? kernel)
    {
        Job.Plan = CpuKernels.Plan(Case.M, kernel);
        Job.UseScratch(_scratch);
        var scratch = new Span<byte>(_scratch, _scratchBytes);
        scratch.Fill(0xCD);
        return scratch;
    }

    /// <summary>Y's bytes after a run; Y is poisoned first.</summary>
    public byte[] Run(CpuKernel? kernel, bool scalarQuantizer = false)
    {
        Use(kernel);
        new Span<byte>(Job.Y, YBytes).Fill(0xAB);
        for (var m = 0; scalarQuantizer && m < Job.Plan.ScratchRows(Case.M); m++) ActivationQuantizer.QuantizeRowScalar(Job, m);
        for (var t = 0; !scalarQuantizer && t < IntScaleMatMul.QuantizeTasks(Job); t++) IntScaleMatMul.Quantize(Job, t);
        for (var t = IntScaleMatMul.TileTasks(Job) - 1; t >= 0; t--) IntScaleMatMul.ComputeTiles(Job, t);
        return new Span<byte>(Job.Y, YBytes).ToArray();
    }

    /// <summary>Y's bytes after a run of tiles by somebody else, on rows quantized for a plan.</summary>
    public byte[] Run(KernelPlan plan, TileRun tiles)
    {
        Use(null);
        Job.Plan = plan;
        Job.UseScratch(_scratch);
        new Span<byte>(Job.Y, YBytes).Fill(0xAB);
        for (var t = 0; t < IntScaleMatMul.QuantizeTasks(Job); t++) IntScaleMatMul.Quantize(Job, t);
        tiles(Job);
        return new Span<byte>(Job.Y, YBytes).ToArray();
    }

    public void Dispose() => _blocks.ForEach(b => b.Dispose());

    private void FillRow(Random random, int m)
    {
        var kind = Case.Flavor == Flavor.OddRows ? random.Next(6) : 5;
        var odd = random.Next(Case.K);
        for (var k = 0; k < Case.K; k++)
        {
            var value = Case.Flavor == Flavor.Saturated ? (random.Next(2) == 0 ? 1f : -1f) : (float)(random.NextDouble() - 0.5) * (random.Next(30) == 0 ? 40 : 1);
            value = kind switch
            {
                0 => 0,
                1 => value * 1e-38f,
                2 when k == odd => float.NaN,
                3 when k == odd => float.NegativeInfinity,
                4 => k == odd ? 1 : 0,
                _ => value,
            };
            Elements.Store(Case.Type, Job.A, ((long)m * Case.K) + k, value);
        }
    }

    private byte* Bytes(int count)
    {
        var block = new GuardedBlock(count);
        _blocks.Add(block);
        return block.Start;
    }
}
