namespace Onnx.IntScale.Tests;

public sealed unsafe class CertificateTests
{
    [Fact]
    public void Compute_RandomWeights_IsReachedByTheWorstActivationsAndNeverPassed() => KernelCase.ForAll(400, c =>
    {
        using var memory = new KernelMemory(c with { M = 1 });
        var w = memory.Job.Weights;
        long worst = 0;
        for (var n = 0; n < c.N; n++)
        {
            // The activations that hurt row n most: 127 with the sign of every term, so that nothing cancels. Summed in 64 bits.
            long sum = 0;
            for (var k = 0; k < c.K; k++)
            {
                var (g, i) = (k / c.BlockSize, k % c.BlockSize);
                var block = w.Block(n, g);
                var q = c.Bits == 8 ? block[i] : (block[i / 2] >> (i % 2 * 4)) & 0xF;
                sum += Math.Abs((long)w.ScalesOf(n)[g] * (q - w.ZeroPoint(n, g))) * 127;
            }

            worst = Math.Max(worst, sum);
        }

        Assert.Equal(worst, Certificate.Compute(w));
    });
}
