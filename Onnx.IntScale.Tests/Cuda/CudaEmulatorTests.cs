namespace Onnx.IntScale.Tests;

/// <summary>
/// The CUDA kernels without a GPU: their sources, run by fibers (Emulator/machine.h) for the real host code, give the scalar specification's bits
/// whenever copies and products happen, and never wait forever.
/// </summary>
public sealed class CudaEmulatorTests(EmulatedGpu gpu) : IClassFixture<EmulatedGpu>
{
    [EmulatorFact]
    public async Task Kernels_WheneverCopiesAndProductsHappen_GiveTheSpecifiedBits()
    {
        // Few multiprocessors: thread blocks compute several tiles. More of them: clusters split K.
        var runs = await Task.WhenAll(
            Check("early", 2, "--seed", "11", "--every", "17"),
            Check("late", 8, "--seed", "12", "--every", "17"),
            Check("late", 3, "--seed", "13", "--every", "37", "--kernel", "mma"),
            Check("random", 3, "--seed", "14", "--m", "1"),
            Check("late", 8, "--seed", "21", "--m", "64", "--kernel", "wgmma"),
            Check("random", 3, "--seed", "37", "--scaled", "--cases", "24"));
        Assert.All(runs, run => Assert.True(run.Code == 0 && run.Out.Contains(" cases, 0 mismatches", StringComparison.Ordinal), run.Out + run.Error));
        var kernels = string.Concat(runs.Select(r => r.Out));
        Assert.All(
            (string[])["gemv_", "plain_", "mma_", "wgmma_b32_t", "wgmma_b64_t", "wgmma_b128_t", "wgmma_b256_t", "_t16_x16 ", "_t16_x16_split", "_t32_x16_split", "_t64_x16_split", "_t128_s8_one", "_t128_s8_split", "_t256_s8_one", "_n64_t32_x16_split", "_n64_t64_x16_one", "_n64_t64_x16_split", "_n64_t64_x1_", "_n64_t128_s8_one", "_n64_t128_s8_split",
                .. from block in new[] { 32, 64, 128, 256 } from tokens in new[] { 128, 256 } select $"wgmma_b{block}_t{tokens}_s8"],
            name => Assert.Contains(name, kernels, StringComparison.Ordinal));
    }

    [EmulatorFact]
    public async Task Barrier_Missing_IsFound()
    {
        using var faulty = gpu.WithFault("wgmma_finish.cuh", ("warpgroup_barrier();\n            store_staged", "store_staged"));
        var run = await Check(faulty, "early", 2, "--seed", "11", "--every", "53", "--kernel", "wgmma");
        Assert.True(run.Code == 1, run.Out + run.Error);
        Assert.Contains("wgmma", run.Out, StringComparison.Ordinal);
    }

    [EmulatorFact]
    public async Task PartialSums_ReadBeforeTheyCome_AreFound()
    {
        using var faulty = gpu.WithFault("wgmma_slices.cuh", ("    wait_for_phase(barriers.sums(), 0);\n", ""));
        var run = await Check(faulty, "late", 8, "--seed", "12", "--every", "17", "--kernel", "wgmma");
        Assert.True(run.Code != 0, run.Out + run.Error);
        Assert.Contains("_split", run.Out + run.Error, StringComparison.Ordinal);
    }

    [EmulatorFact]
    public async Task PartnersSums_WrittenWhileAWarpStillMultiplies_AreFound()
    {
        using var faulty = gpu.WithFault("wgmma_partners.cuh", ("        warpgroup_barrier();", "        "));
        var run = await Check(faulty, "late", 8, "--seed", "21", "--m", "64", "--kernel", "wgmma");
        Assert.True(run.Code == 1, run.Out + run.Error);
        Assert.Contains("_n64_t64_", run.Out, StringComparison.Ordinal);
    }

    [EmulatorFact]
    public async Task Prefetch_OfTilesOfOddStages_IsFound()
    {
        using var faulty = gpu.WithFault("wgmma_scaled.cuh", ("primed = more && count % 2 == 0;", "primed = more;"));
        var run = await Check(faulty, "random", 2, "--seed", "37", "--scaled", "--cases", "24");
        Assert.True(run.Code != 0, run.Out + run.Error);
        Assert.Contains("_s8", run.Out + run.Error, StringComparison.Ordinal);
    }

    [EmulatorFact]
    public async Task Codes_GivenBackBeforeTheirLoadsAreOver_AreFound()
    {
        const string Arrival = "        if (first_lane) arrive(code_full + tokens.at * kBarrierPitch + 8);\n";
        using var unpacked = gpu.WithFault("wgmma_scaled.cuh", (Arrival, ""), ("        loads.next();\n", "        __syncwarp();\n        if (first_lane) arrive(code_full + loads.at * kBarrierPitch + 8);\n        loads.next();\n"));
        // The next stage's, with the products of this one.
        using var early = gpu.WithFault(
            "wgmma_scaled.cuh",
            (Arrival, "        if (i == 0 && first_lane) arrive(code_full + tokens.at * kBarrierPitch + 8);\n        if (i + 1 < count && first_lane) arrive(code_full + (tokens.at + 1) % kPlaces * kBarrierPitch + 8);\n"));
        var runs = await Task.WhenAll(new[] { unpacked, early }.Select(faulty => Check(faulty, "early", 2, "--seed", "16", "--scaled", "--cases", "24")));
        Assert.All(runs, AssertLate);
    }

    [EmulatorFact]
    public async Task Scales_GivenBackBeforeTheirLoadsAreOver_AreFound()
    {
        using var faulty = gpu.WithFault("wgmma_scaled.cuh", ("            arrive(span_full + span_freed * 16 + 8);\n", ""), ("            span.next();\n", "            arrive(span_full + span.at * 16 + 8);\n            span.next();\n"));
        AssertLate(await Check(faulty, "early", 2, "--seed", "16", "--scaled", "--cases", "24"));
    }

    private static void AssertLate((int Code, string Out, string Error) run)
    {
        Assert.True(run.Code != 0, run.Out + run.Error);
        Assert.Contains("may still be under way", run.Out + run.Error, StringComparison.Ordinal);
    }

    private Task<(int Code, string Out, string Error)> Check(string schedule, int multiprocessors, params string[] arguments) => Check(gpu, schedule, multiprocessors, arguments);

    private static Task<(int Code, string Out, string Error)> Check(EmulatedGpu gpu, string schedule, int multiprocessors, params string[] arguments) =>
        Task.Run(() => gpu.Check(schedule, multiprocessors, arguments));
}
