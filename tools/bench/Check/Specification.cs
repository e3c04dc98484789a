namespace Onnx.IntScale.Bench;

/// <summary>What a case's Y must be, bit for bit (any NaN for a NaN).</summary>
internal static unsafe class Specification
{
    /// <summary>Products beyond which the scalar loops take too long, and the CPU's best kernels, which tests hold to them, stand in.</summary>
    private const long ScalarProducts = 1L << 28;

    /// <summary>Y [M, N] as bytes.</summary>
    public static byte[] Compute(CheckData data, TensorBuffer a)
    {
        var c = data.Case;
        var y = new byte[(long)c.M * c.Shape.N * Elements.SizeOf(c.Type)];
        if (c.M == 0) return y;
        fixed (byte* output = y)
        {
            var scalar = (long)c.M * c.Shape.K * c.Shape.N <= ScalarProducts;
            var job = new MatMulJob { Weights = data.Weights, M = c.M, Type = c.Type, A = a.Data, Y = output, Plan = CpuKernels.Plan(c.M, scalar ? CpuKernels.Scalar : null) };
            if (data.Bias != null) job.Bias = data.Bias.Data;
            using var scratch = new TensorBuffer(MatMulJob.ScratchBytes(c.Shape, job.Plan.ScratchRows(c.M)));
            job.UseScratch(scratch.Data);
            if (scalar)
            {
                Parallel.For(0, c.M, m => ActivationQuantizer.QuantizeRowScalar(job, m));
            }
            else
            {
                Parallel.For(0, IntScaleMatMul.QuantizeTasks(job), t => IntScaleMatMul.Quantize(job, t));
            }

            Parallel.For(0, IntScaleMatMul.TileTasks(job), t => IntScaleMatMul.ComputeTiles(job, t));
        }

        return y;
    }

    /// <summary>Where two outputs differ first, in words, or null where they don't. NaNs are equal: processors and GPUs make different ones.</summary>
    public static string? Difference(CheckCase c, ReadOnlySpan<byte> expected, ReadOnlySpan<byte> actual)
    {
        if (expected.SequenceEqual(actual)) return null;
        if (expected.Length != actual.Length) return $"Y has {actual.Length} bytes, expected {expected.Length}";
        var size = Elements.SizeOf(c.Type);
        var (wrong, first) = (0, -1);
        fixed (byte* e = expected, a = actual)
        {
            for (var i = 0; i < expected.Length / size; i++)
            {
                if (expected.Slice(i * size, size).SequenceEqual(actual.Slice(i * size, size))) continue;
                if (float.IsNaN(Elements.Load(c.Type, e, i)) && float.IsNaN(Elements.Load(c.Type, a, i))) continue;
                if (wrong++ == 0) first = i;
            }

            if (wrong == 0) return null;
            return Text.F(
                $"Y[{first / c.Shape.N},{first % c.Shape.N}] is {Elements.Load(c.Type, a, first):R}, expected {Elements.Load(c.Type, e, first):R}; {wrong} of {expected.Length / size} differ");
        }
    }
}
