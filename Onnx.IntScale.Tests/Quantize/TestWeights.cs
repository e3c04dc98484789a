namespace Onnx.IntScale.Tests;

/// <summary>Random float weights as a model would hold them.</summary>
internal static unsafe class TestWeights
{
    /// <summary>Normal weights [K, N] with channels of different spread and a few outliers.</summary>
    public static float[] Normal(int k, int n, int seed)
    {
        var random = new Random(seed);
        var w = new float[k * n];
        var spread = Enumerable.Range(0, n).Select(_ => 0.01 * Math.Exp(random.NextDouble())).ToArray();
        for (var i = 0; i < w.Length; i++)
        {
            var normal = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
            w[i] = (float)(spread[i % n] * normal * (random.Next(200) == 0 ? 4 : 1));
        }

        return w;
    }

    /// <summary>A matrix over values given as float, stored in the type asked for.</summary>
    public static WeightMatrix Matrix(float[] values, int k, int n, ElementType type = ElementType.Float, bool transposed = false)
    {
        var buffer = new TensorBuffer((long)values.Length * Elements.SizeOf(type));
        for (var i = 0; i < values.Length; i++) Elements.Store(type, buffer.Data, transposed ? ((long)(i % n) * k) + (i / n) : i, values[i]);
        return new WeightMatrix(buffer, type, k, n, transposed);
    }

    /// <summary>What the operator multiplies by, [K, N].</summary>
    public static double[] Dequantize(QuantizedWeight q)
    {
        var shape = q.Summary.Shape;
        var w = new double[shape.K * shape.N];
        var codes = new sbyte[shape.PaddedK];
        for (var n = 0; n < shape.N; n++)
        {
            CodePacking.Unpack(q.B.AsSpan(n * shape.RowBytes, shape.RowBytes), shape.Bits, codes);
            for (var k = 0; k < shape.K; k++) w[(k * shape.N) + n] = (double)codes[k] * q.Scales[(n * shape.KBlocks) + (k / shape.BlockSize)] * q.ChannelScales[n];
        }

        return w;
    }

    public static double RelativeError(float[] w, double[] approximation) =>
        Math.Sqrt(w.Zip(approximation, (x, y) => (x - y) * (x - y)).Sum() / w.Sum(x => (double)x * x));
}
