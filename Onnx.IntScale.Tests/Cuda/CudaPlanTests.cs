using Onnx.IntScale.Bench;

namespace Onnx.IntScale.Tests;

/// <summary>Plans are pure, can be launched, and need only modules that were loaded when the node was made.</summary>
public class CudaPlanTests
{
    private const int MostGridYz = 65535;
    private const int MostThreads = 1024;
    private const int MostCluster = 8;
    private const int StaticShared = 48 * 1024;

    private static readonly CudaDevice[] Devices =
    [
        new(9, 0, 132, 232448), // H100
        new(8, 0, 108, 166912), // A100
        new(8, 6, 84, 101376), // RTX 3090
        new(8, 9, 20, 101376), // a laptop's
        new(10, 0, 148, 232448), // B200
        new(12, 0, 170, 101376), // RTX 5090
    ];

    private static readonly int[] Rows = [.. Enumerable.Range(1, 70), 127, 128, 129, 191, 192, 193, 255, 256, 257, 511, 512, 1000, 1024, 4096, 5000, 65535, 65536, 100_000, 1_000_000, 9_000_000];

    private static readonly (int K, int N)[] Sizes = [(4096, 4096), (4096, 14336), (14336, 4096), (4096, 128256), (1, 1), (33, 7), (100, 64), (128, 65), (2048, 2049), (129, 128), (16, 1), (384, 151936), (65536, 128)];

    [Fact]
    public void Plan_EveryShape_CanBeLaunched()
    {
        foreach (var (device, shape, type, weights) in Nodes())
        {
            var modules = CudaPlanner.Modules(shape, device);
            foreach (var m in Rows)
            {
                var plan = CudaPlanner.Plan(shape, m, type, weights, device);
                var where = $"{shape} M={m} {type} {device}: {plan}";
                Assert.True(plan.MatMul.Threads > 0, where);
                CheckLaunch(plan.MatMul, device, modules, where);
                if (plan.Quantize.Threads > 0) CheckLaunch(plan.Quantize, device, modules, where);
                Assert.True(plan.Quantize.Threads == 0 || plan.A8Bytes > 0, where);
                if (plan.A8Bytes == 0) continue;
                Assert.True(plan.A8Bytes % 1024 == 0 && plan.A8Rows >= m && plan.ScaleRows >= m, where);
                Assert.True(plan.A8Bytes >= (long)plan.A8Rows * ((shape.K + 127) / 128 * 128), where);
            }
        }
    }

    [Fact]
    public void Plan_TilesOf64Channels_OnlyWhereOneWaveHoldsThem()
    {
        var hopper = Devices[0];
        string NameOf(CudaPlan plan) => CudaKernels.All[plan.MatMul.Kernel].Name;
        foreach (var (device, shape, type, weights) in Nodes().Where(node => node.Device == hopper))
        {
            foreach (var m in Rows)
            {
                var plan = CudaPlanner.Plan(shape, m, type, weights, device);
                if (NameOf(plan).Contains("_n64_", StringComparison.Ordinal)) Assert.True(m > 16 && plan.MatMul.GridX <= hopper.SmCount, $"{shape} M={m}: {plan}");
            }
        }

        // As measured (benchmarks/cuda.md).
        WeightFacts small = new(false, Certificate.DefaultLimit, Certificate.LargestInt8Scale), any = new(true, Certificate.Int32Limit, short.MaxValue);
        string Of(int m, in WeightFacts weights, int k = 4096, int block = 128) => NameOf(CudaPlanner.Plan(new(k, 4096, 4, block), m, ElementType.Float16, weights, hopper));
        Assert.Equal(
            ["wgmma_b128_t16_x16_split", "wgmma_b128_n64_t32_x16_split", "wgmma_b128_n64_t64_x16_split", "wgmma_b128_n64_t64_x16_one", "wgmma_b128_n64_t128_s8_one", "wgmma_b128_t256_s8_one"],
            new[] { 16, 32, 64, 128, 256, 1024 }.Select(m => Of(m, small)));
        Assert.Equal(["wgmma_b128_n64_t64_x1_one", "wgmma_b128_t64_x1"], new[] { 128, 256 }.Select(m => Of(m, any)));
        Assert.Equal(["wgmma_b128_n64_t128_s8_split", "wgmma_b128_t128_s8_split"], new[] { 128, 256 }.Select(m => Of(m, small, 14336)));
        // Folds of small blocks take longer; scaled codes do not.
        Assert.Equal(["wgmma_b64_n64_t128_s8_split", "wgmma_b32_n64_t128_s8_split"], new[] { 64, 32 }.Select(block => Of(128, small, block: block)));
        Assert.Equal(["wgmma_b128_t32_x16_split", "wgmma_b64_n64_t32_x16_split"], new[] { 128, 64 }.Select(block => Of(32, small, 14336, block)));
    }

    [Fact]
    public void Quantization_OfLongRows_FindsRoomBesideAProduct()
    {
        const int Registers = 64, ProductRegisters = 384 * 128, AllRegisters = 65536, UnitsAThread = 2;
        foreach (var k in new[] { 128, 4096, 8192, 11008, 14336, 16384, 28672, 65536 })
        {
            foreach (var m in new[] { 2, 16, 17, 127, 128, 129, 132, 133, 256, 257 })
            {
                var launch = WgmmaPlan.Quantize(new(k, 4096, 4, 128), m, ElementType.Float16, Devices[0]);
                var where = $"K={k} M={m}: {launch}";
                Assert.True(launch.GridX >= m && launch.GridX < m + launch.Cluster && launch.GridX % launch.Cluster == 0, where);
                Assert.True(launch.Threads is > 0 and <= 512 && launch.Threads % 32 == 0, where);
                if (k <= 16384 && m <= Devices[0].SmCount) Assert.True(ProductRegisters + (launch.Threads * Registers) <= AllRegisters, where);
                if (k <= 16384) Assert.True(launch.Threads * UnitsAThread * 32 >= k, where);
            }
        }
    }

    [Fact]
    public void Plan_AsksForModulesThatAreThere()
    {
        foreach (var (device, shape, _, _) in Nodes())
        {
            foreach (var module in (string[])[.. CudaPlanner.Modules(shape, device), "certificate"])
            {
                var (_, image) = CudaModules.Image(module, device);
                Assert.NotEmpty(image);
            }
        }
    }

    [Fact]
    public void Plan_AllocatesNothing()
    {
        var device = Devices[0];
        var shape = new MatMulShape(4096, 4096, 4, 128);
        var total = 0L;
        for (var m = 1; m < 100; m++) total += CudaPlanner.Plan(shape, m, ElementType.Float16, new(false, Certificate.DefaultLimit, Certificate.LargestInt8Scale), device).A8Bytes;
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var m = 1; m < 100; m++) total += CudaPlanner.Plan(shape, m, ElementType.Float16, new(false, Certificate.DefaultLimit, Certificate.LargestInt8Scale), device).A8Bytes;
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        Assert.True(total >= 0);
    }

    [Fact]
    public void Kernels_IdsAreTheirPlaces()
    {
        for (var i = 0; i < CudaKernels.All.Count; i++) Assert.Equal(i, CudaKernels.All[i].Id);
        Assert.Equal(CudaKernels.All.Count, CudaKernels.All.Select(k => k.Name).Distinct().Count());
        Assert.Equal("certificate", CudaKernels.All[CudaPlanner.Certificate(new(128, 1, 4, 32)).Kernel].Module);
    }

    [Fact]
    public void Check_CasesAreCertified()
    {
        foreach (var c in CheckCase.Edges(1).Where((_, i) => i % 20 == 0).Concat(CheckCase.Random(1, 20)))
        {
            using var data = new CheckData(c);
            Assert.InRange(data.MaxAccumulator, 0, c.Limit);
        }
    }

    [Fact]
    public void Check_ScaledCases_ReachEveryKernelAndEveryWayToCutACall()
    {
        var hopper = Devices.First(d => d is { Major: 9, Minor: 0 });
        var cuts = CheckCase.Scaled(1, 400).Select(c =>
        {
            var plan = CudaPlanner.Plan(c.Shape, c.M, c.Type, new(false, c.Limit, c.LargestScale), hopper with { SmCount = c.Sms }).MatMul;
            return (CudaKernels.All[plan.Kernel].Name, plan.Cluster, Goes: plan.GridX == c.Sms, Odd: (c.Shape.K + 127) / 128 % 2 == 1, c.Type);
        }).Where(c => c.Name.Contains("_s8", StringComparison.Ordinal)).ToList();
        Assert.Equal(CudaKernels.All.Select(k => k.Name).Where(n => n.Contains("_s8", StringComparison.Ordinal)).Order(), cuts.Select(c => c.Name).Distinct().Order());
        Assert.Equal([2, 3, 4], cuts.Where(c => c.Name.EndsWith("_split", StringComparison.Ordinal)).Select(c => c.Cluster).Distinct().Order());
        foreach (var name in cuts.Select(c => c.Name).Distinct())
        {
            if (name.EndsWith("_s8", StringComparison.Ordinal)) Assert.Equal([false, true], cuts.Where(c => c.Name == name && c.Goes).Select(c => c.Odd).Distinct().Order());
            Assert.True(cuts.Where(c => c.Name == name).Select(c => c.Type).Distinct().Count() > 1, name);
        }
    }

    private static IEnumerable<(CudaDevice Device, MatMulShape Shape, ElementType Type, WeightFacts Weights)> Nodes() =>
        from device in Devices
        from size in Sizes
        from block in new[] { 16, 32, 64, 128, 256 }
        from bits in new[] { 4, 8 }
        from type in Enum.GetValues<ElementType>()
        from zeroPoints in new[] { false, true }
        from limit in new[] { Certificate.DefaultLimit, Certificate.Int32Limit }
        from largest in new[] { Certificate.LargestInt8Scale, short.MaxValue }
        where type == ElementType.Float16 || block == 64
        select (device, new MatMulShape(size.K, size.N, bits, block), type, new WeightFacts(zeroPoints, limit, largest));

    private static void CheckLaunch(in CudaLaunch launch, in CudaDevice device, IReadOnlyList<string> modules, string where)
    {
        Assert.True(launch.GridX > 0 && launch.GridY is > 0 and <= MostGridYz && launch.GridZ is > 0 and <= MostGridYz, where);
        Assert.True(launch.Threads is > 0 and <= MostThreads && launch.Threads % 32 == 0, where);
        Assert.True(launch.Cluster is >= 1 and <= MostCluster && launch.GridX % launch.Cluster == 0, where);
        Assert.True(launch.Cluster == 1 || device.Major >= 9, where);
        Assert.True(launch.SharedBytes >= 0 && launch.SharedBytes <= Math.Max(device.SharedBytesPerBlock, StaticShared), where);
        Assert.Contains(CudaKernels.All[launch.Kernel].Module, modules);
    }
}
