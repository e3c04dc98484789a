using System.Runtime.Intrinsics.X86;

namespace Onnx.IntScale.Tests;

/// <summary>A test of what panel kernels have in common, which needs AVX2: skipped, and reported, without it.</summary>
public sealed class Avx2FactAttribute : FactAttribute
{
    public Avx2FactAttribute()
    {
        if (!Avx2.IsSupported) Skip = "needs AVX2";
    }
}

/// <summary>amx-panel, its loops emulated, equals the scalar kernel on machines without AMX too.</summary>
public sealed unsafe class AmxEmulatedTests
{
    [Avx2Fact]
    public void Accumulate_EmulatedLoops_EqualScalar()
    {
        // Signed codes and halves of 8 bits, every run length, one and two panels, loops that fetch, several pieces of K, channels that fill up.
        foreach (var (m, k, n, bits, blockSize, zeroPoints) in new[]
        {
            (16, 300, 33, 4, 128, false), (33, 1100, 70, 4, 128, true), (48, 1100, 5, 4, 256, false), (20, 200, 40, 4, 64, true), (33, 200, 31, 4, 32, false),
            (16, 90, 64, 4, 16, true), (32, 1030, 9, 8, 128, false), (40, 300, 34, 8, 32, true), (17, 100, 3, 8, 16, false), (70, 256, 65, 4, 128, false),
        })
        {
            var c = new KernelCase(m, k, n, bits, blockSize, zeroPoints, true, ElementType.Float, m % 2 == 0 ? Flavor.Plain : Flavor.Saturated, m + k);
            using var memory = new KernelMemory(c);
            var expected = memory.Run(CpuKernels.Scalar, scalarQuantizer: true);
            Assert.Equal(expected, memory.Run(EmulatedPlan(m), Tile));
        }
    }

    private static KernelPlan EmulatedPlan(int m) => CpuKernels.Plan(m) with { PanelRows = (m + ActivationOrder.PanelRows - 1) / ActivationOrder.PanelRows * ActivationOrder.PanelRows };

    private static void Tile(in MatMulJob job)
    {
        var room = stackalloc int[PanelTiles.TotalsLength(job.M)];
        for (var n0 = 0; n0 < job.Weights.Shape.N; n0 += PanelTiles.Channels)
        {
            var n1 = Math.Min(job.Weights.Shape.N, n0 + PanelTiles.Channels);
            PanelTiles.Accumulate<Loops>(job, 0, job.M, n0, n1, room);
            PanelTiles.Store(job, 0, job.M, n0, n1, room);
        }
    }

    private readonly struct Loops : IPanelLoops
    {
        private static readonly Dictionary<(int Run, int Panels, bool Fetch), AmxEmulator> Emulators = [];

        public static (int Two, int One) Channels => (AmxPanelCode.Channels, AmxPanelCode.Channels);

        public static bool SignedCodes => true;

        public static int Scale(short scale) => scale;

        public static void TwoPanels(PanelArguments* arguments, int run) => Call(arguments, run, 2);

        public static void OnePanel(PanelArguments* arguments, int run) => Call(arguments, run, 1);

        private static void Call(PanelArguments* arguments, int run, int panels)
        {
            var form = (run, panels, Fetch: arguments->Next != null);
            if (!Emulators.TryGetValue(form, out var emulator))
                Emulators[form] = emulator = new AmxEmulator(AmxPanelCode.Emit(run, panels, form.Fetch), AmxPanelCode.Configuration(run));

            using var tiles = new GuardedBlock(AmxPanelCode.TilesBytes);
            arguments->Tiles = (int*)tiles.Start;
            emulator.Call(arguments);
        }
    }
}
