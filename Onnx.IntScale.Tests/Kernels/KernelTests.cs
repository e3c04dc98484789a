namespace Onnx.IntScale.Tests;

/// <summary>Every kernel that this processor runs equals the scalar one, with the scalar quantizer, bit for bit.</summary>
public sealed unsafe class KernelTests
{
    public static TheoryData<string> Kernels => [.. CpuKernels.Available.Select(k => k.Name)];

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Accumulate_RandomAndExtremeCalls_EqualsScalar(string name)
    {
        var kernel = CpuKernels.Choose(name);
        KernelCase.ForAll(1500, c =>
        {
            using var memory = new KernelMemory(c);
            AssertSame(c, memory.Run(CpuKernels.Scalar, scalarQuantizer: true), memory.Run(kernel));
        });
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Accumulate_EveryMUpTo40AndTileEdgesOfN_EqualsScalar(string name)
    {
        var kernel = CpuKernels.Choose(name);
        foreach (var n in new[] { 1, 63, 64, 65, 127, 128, 129 })
        {
            for (var m = 0; m <= 40; m++)
            {
                var c = new KernelCase(m, 128, n, 4, 64, false, true, ElementType.Float, Flavor.Plain, (m * 1000) + n);
                using var memory = new KernelMemory(c);
                AssertSame(c, memory.Run(CpuKernels.Scalar, scalarQuantizer: true), memory.Run(kernel));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Accumulate_SeveralPiecesOfKAndTallTiles_EqualsScalar(string name)
    {
        // K beyond a piece (1024) and beyond what zero points take at a time (512 blocks); tiles of 64 rows, and of 256 where N is large.
        var kernel = CpuKernels.Choose(name);
        foreach (var (m, k, n, bits, blockSize, zeroPoints) in new[]
        {
            (3, 1025, 67, 4, 128, false), (33, 2100, 67, 4, 32, true), (130, 4096, 5, 4, 128, false), (70, 2100, 5, 4, 256, true),
            (33, 8200, 5, 4, 16, true), (5, 8200, 67, 4, 16, false), (33, 2100, 67, 8, 64, true), (130, 1100, 5, 8, 128, false),
            (9, 4096, 67, 8, 256, true), (2, 8300, 9, 8, 16, true), (300, 48, 4100, 4, 16, true), (270, 40, 4100, 8, 32, false),
        })
        {
            var c = new KernelCase(m, k, n, bits, blockSize, zeroPoints, false, ElementType.Float, Flavor.Plain, (m * k) + n);
            using var memory = new KernelMemory(c);
            AssertSame(c, memory.Run(CpuKernels.Scalar, scalarQuantizer: true), memory.Run(kernel));
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Accumulate_EveryProductTheLargest_EqualsScalar(string name)
    {
        // Kernels that keep sums of products in int16 count on this being the worst; random codes and signs come nowhere near it.
        var kernel = CpuKernels.Choose(name);
        foreach (var (bits, blockSize, scale) in from bits in new[] { 4, 8 } from blockSize in new[] { 16, 32, 64, 128, 256 } from scale in new[] { short.MinValue, short.MaxValue } select (bits, blockSize, scale))
        {
            foreach (var (m, code, zeroPoint) in new (int M, byte Code, byte? ZeroPoint)[] { (1, 255, null), (3, 255, 0), (4, 0, 255), (8, 255, null), (21, 0, 255), (21, 255, 0) })
            {
                var c = new KernelCase(m, 512, 70, bits, blockSize, zeroPoint != null, false, ElementType.Float, Flavor.Plain, blockSize);
                using var memory = new KernelMemory(c);
                var weights = memory.Job.Weights;
                new Span<byte>(weights.B, c.N * weights.Shape.RowBytes).Fill(code);
                new Span<short>(weights.Scales, c.N * weights.Shape.KBlocks).Fill(scale);
                if (zeroPoint is { } z) new Span<byte>(weights.ZeroPoints, c.N * weights.Shape.ZeroPointRowBytes).Fill(z);
                for (var i = 0; i < c.M * c.K; i++) ((float*)memory.Job.A)[i] = i / c.K % 2 == 0 ? 1 : -1;
                AssertSame(c, memory.Run(CpuKernels.Scalar, scalarQuantizer: true), memory.Run(kernel));
            }
        }
    }

    [Fact]
    public void ComputeTiles_OneRow_SameBitsAloneAndInABatch()
    {
        // A token's result must not depend on what it is batched with.
        var c = new KernelCase(150, 200, 70, 4, 32, true, true, ElementType.Float, Flavor.Plain, 5);
        using var memory = new KernelMemory(c);
        var batch = memory.Run(null);
        var rowBytes = c.N * sizeof(float);
        for (var m = 0; m < c.M; m += 7)
        {
            var alone = memory.Job with { Plan = CpuKernels.Plan(1), M = 1, A = (float*)memory.Job.A + (m * c.K), Y = (float*)memory.Job.Y + (m * c.N) };
            new Span<byte>(alone.Y, rowBytes).Clear();
            alone.UseScratch((byte*)memory.Job.A8);
            IntScaleMatMul.Run(alone);
            Assert.True(new Span<byte>(alone.Y, rowBytes).SequenceEqual(batch.AsSpan(m * rowBytes, rowBytes)), $"row {m}");
        }
    }

    [Fact]
    public void Run_OddRows_GiveWhatIsDocumented()
    {
        var c = new KernelCase(3, 64, 5, 4, 32, false, false, ElementType.Float, Flavor.Plain, 11);
        using var memory = new KernelMemory(c);
        var a = new Span<float>(memory.Job.A, c.M * c.K);
        a[..c.K].Clear();
        a[c.K + 3] = float.PositiveInfinity;
        memory.Run(null);
        var y = new Span<float>(memory.Job.Y, c.M * c.N);
        Assert.All(y[..c.N].ToArray(), v => Assert.Equal(0, v));
        Assert.All(y.Slice(c.N, c.N).ToArray(), v => Assert.True(float.IsNaN(v)));
        Assert.All(y[(2 * c.N)..].ToArray(), v => Assert.True(float.IsFinite(v)));
    }

    [Fact]
    public void Run_RandomCall_IsNearTheFloatProduct()
    {
        // The operator as a whole, against double arithmetic on dequantized weights: |error| ≤ K · a_scale/2 · max|w| and rounding.
        var c = new KernelCase(4, 300, 33, 4, 64, true, true, ElementType.Float, Flavor.Plain, 3);
        using var memory = new KernelMemory(c);
        memory.Run(null);
        var w = memory.Job.Weights;
        Assert.Equal(0, memory.Job.Plan.PanelRows);
        for (var m = 0; m < c.M; m++)
        {
            for (var n = 0; n < c.N; n++)
            {
                double expected = Elements.Load(c.Type, memory.Job.Bias, n), bound = 1e-5;
                for (var k = 0; k < c.K; k++)
                {
                    var q = (w.Block(n, k / 64)[k % 64 / 2] >> (k % 2 * 4)) & 0xF;
                    var weight = (double)w.ScalesOf(n)[k / 64] * (q - w.ZeroPoint(n, k / 64)) * w.ChannelScales[n];
                    expected += ((float*)memory.Job.A)[(m * c.K) + k] * weight;
                    bound += Math.Abs(weight) * memory.Job.AScales[m] * 0.5001;
                }

                Assert.InRange(((float*)memory.Job.Y)[(m * c.N) + n], expected - bound, expected + bound);
            }
        }
    }

    [Theory]
    [InlineData(1, 0)]
    [InlineData(16, 16)]
    [InlineData(17, 16)]
    [InlineData(31, 32)]
    public void Plan_PanelsWhereTheProcessorHasThem_LeaveFewRowsOver(int m, int panelRows)
    {
        var plan = CpuKernels.Plan(m);
        Assert.False(CpuKernels.All[plan.Row].Panels);
        Assert.Equal(CpuKernels.Available.Any(k => k.Panels) ? panelRows : 0, plan.PanelRows);
        foreach (var kernel in CpuKernels.Available)
            Assert.Equal(kernel, CpuKernels.All[CpuKernels.Plan(m, kernel) is { PanelRows: > 0 } p ? p.Panel : CpuKernels.Plan(m, kernel).Row]);
    }

    [Fact]
    public void Choose_UnknownName_SaysWhichThereAre()
    {
        var e = Assert.Throws<ArgumentException>(() => CpuKernels.Choose("avx9"));
        Assert.Contains("scalar", e.Message, StringComparison.Ordinal);
    }

    private static void AssertSame(KernelCase c, byte[] expected, byte[] actual)
    {
        var size = Elements.SizeOf(c.Type);
        var at = expected.AsSpan().CommonPrefixLength(actual);
        if (at == expected.Length) return;
        at /= size;
        fixed (byte* e = expected, a = actual)
            Assert.Fail($"{c}: Y[{at / c.N},{at % c.N}] is {Elements.Load(c.Type, a, at):R}, expected {Elements.Load(c.Type, e, at):R}");
    }
}
