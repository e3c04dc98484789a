namespace Onnx.IntScale.Bench;

/// <summary>What a case's Y must be, bit for bit (any NaN for a NaN).</summary>
internal static unsafe class Specification
{
    /// <summary>Products beyond which the scalar loops take too long, and the CPU's best kernels, which tests hold to them, stand in.</summary>
    private const long ScalarProducts = 1L << 28;

    /// <summary>A case's Y [M, N] as bytes.</summary>
    public static byte[] Compute(CheckData data, TensorBuffer a) => Compute(data.Weights, data.Bias, data.Case.M, data.Case.Type, a.Data);

    /// <summary>Y [M, N] as bytes.</summary>
    /// <param name="weights">The weights.</param>
    /// <param name="bias">Bias [N], or null.</param>
    /// <param name="m">Rows of A.</param>
    /// <param name="type">Type of A, bias and Y.</param>
    /// <param name="a">A [M, K].</param>
    public static byte[] Compute(WeightView weights, TensorBuffer? bias, int m, ElementType type, void* a)
    {
        var shape = weights.Shape;
        var y = new byte[(long)m * shape.N * Elements.SizeOf(type)];
        if (m == 0) return y;
        fixed (byte* output = y)
        {
            var scalar = (long)m * shape.K * shape.N <= ScalarProducts;
            var job = new MatMulJob { Weights = weights, M = m, Type = type, A = a, Y = output, Plan = CpuKernels.Plan(m, scalar ? CpuKernels.Scalar : null) };
            if (bias != null) job.Bias = bias.Data;
            using var scratch = new TensorBuffer(MatMulJob.ScratchBytes(shape, job.Plan.ScratchRows(m)));
            job.UseScratch(scratch.Data);
            if (scalar)
            {
                Parallel.For(0, m, row => ActivationQuantizer.QuantizeRowScalar(job, row));
            }
            else
            {
                Parallel.For(0, IntScaleMatMul.QuantizeTasks(job), t => IntScaleMatMul.Quantize(job, t));
            }

            Parallel.For(0, IntScaleMatMul.TileTasks(job), t => IntScaleMatMul.ComputeTiles(job, t));
        }

        return y;
    }

    /// <summary>Where two outputs of a case differ first, in words, or null where they don't.</summary>
    public static string? Difference(CheckCase c, ReadOnlySpan<byte> expected, ReadOnlySpan<byte> actual) => Compare(c.Type, c.Shape.N, expected, actual)?.Words;

    /// <summary>How two Y [M, N] differ, or null where they don't. NaNs are equal: processors and GPUs make different ones.</summary>
    public static Mismatch? Compare(ElementType type, int n, ReadOnlySpan<byte> expected, ReadOnlySpan<byte> actual)
    {
        if (expected.SequenceEqual(actual)) return null;
        var size = Elements.SizeOf(type);
        if (expected.Length != actual.Length) return new(Math.Max(expected.Length, actual.Length) / size, $"Y has {actual.Length} bytes, expected {expected.Length}");
        var (wrong, first) = (0, -1);
        fixed (byte* e = expected, a = actual)
        {
            for (var i = 0; i < expected.Length / size; i++)
            {
                if (expected.Slice(i * size, size).SequenceEqual(actual.Slice(i * size, size))) continue;
                if (float.IsNaN(Elements.Load(type, e, i)) && float.IsNaN(Elements.Load(type, a, i))) continue;
                if (wrong++ == 0) first = i;
            }

            if (wrong == 0) return null;
            return new(wrong, Text.F(
                $"Y[{first / n},{first % n}] is {Elements.Load(type, a, first):R}, expected {Elements.Load(type, e, first):R}; {wrong} of {expected.Length / size} differ"));
        }
    }
}

/// <summary>How two outputs differ.</summary>
/// <param name="Count">Elements of other bits.</param>
/// <param name="Words">The first of them, in words.</param>
internal sealed record Mismatch(int Count, string Words);
