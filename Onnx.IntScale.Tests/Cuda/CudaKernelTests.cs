using Onnx.IntScale.Bench;

namespace Onnx.IntScale.Tests;

/// <summary>The CUDA kernels give the specification's bits, by themselves and inside ONNX Runtime; <c>bench cuda-check</c> runs the same.</summary>
public class CudaKernelTests
{
    private const int Seed = 20260817;

    [GpuFact]
    public void Kernels_EveryMAndEdgesOfTiles_EqualSpecification() => Check(CheckCase.Edges(Seed));

    [GpuFact]
    public void Kernels_RandomCalls_EqualSpecification() => Check(CheckCase.Random(Random.Shared.Next(), 200));

    [GpuFact]
    public void Kernels_CodesThatCarryScales_EqualSpecification() => Check(CheckCase.Scaled(Random.Shared.Next(), 100));

    [GpuFact]
    public void Graphs_Replayed_EqualThePlainKernel()
    {
        using var check = new ReplayCheck(0);
        Assert.All(check.Run(Seed, replays: 3), c => Assert.True(c.Fault == null, $"{c.Name}: {c.Fault}"));
    }

    [CudaSessionFact]
    public void Sessions_EqualTheCpus()
    {
        foreach (var (name, fault) in SessionCheck.Run(Seed)) Assert.True(fault == null, $"{name}: {fault}");
    }

    private static void Check(IEnumerable<CheckCase> cases)
    {
        using var check = new KernelCheck(0);
        foreach (var c in cases)
        {
            var outcome = check.Run(c);
            Assert.True(outcome.Fault == null, $"{outcome.Kernels}: {c}: {outcome.Fault}");
        }
    }
}
