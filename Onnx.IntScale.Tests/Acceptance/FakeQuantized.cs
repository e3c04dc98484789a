using System.Runtime.InteropServices;
using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Tests;

/// <summary>Copies of a float16 model whose linear layers hold the values that quantized weights stand for, rounded to float16 as the originals are.</summary>
internal static class FakeQuantized
{
    /// <summary>Weights [K, N] → the values that stand in for them.</summary>
    public delegate float[] Method(float[] w, int k, int n);

    /// <summary>The converter's defaults.</summary>
    private static readonly QuantizeOptions Options = new();

    /// <summary>What the converter makes of them, with its defaults: integer scales, codes rounded again.</summary>
    public static float[] IntegerScales(float[] w, int k, int n) =>
        [.. TestWeights.Dequantize(WeightQuantizer.Quantize(TestWeights.Matrix(w, k, n), Options)).Select(v => (float)v)];

    /// <summary>The same bits, block size and method with the float scales that the integers stand for.</summary>
    public static float[] FloatScales(float[] w, int k, int n)
    {
        var result = new float[w.Length];
        Parallel.For(0, n, j =>
        {
            var codes = new sbyte[Options.BlockSize];
            var block = new float[Options.BlockSize];
            for (var first = 0; first < k; first += block.Length)
            {
                var count = Math.Min(block.Length, k - first);
                Array.Clear(block);
                for (var i = 0; i < count; i++) block[i] = w[((first + i) * n) + j];
                var scale = BlockScale.Mse(block, Options.Bits);
                BlockScale.Codes(block, scale, Options.Bits, codes);
                for (var i = 0; i < count; i++) result[((first + i) * n) + j] = codes[i] * scale;
            }
        });
        return result;
    }

    /// <summary>Copies a model's two files and replaces the layers' weights in the data file.</summary>
    public static void Save(string source, string folder, Method method)
    {
        Directory.CreateDirectory(folder);
        foreach (var name in new[] { "model.onnx", "model.onnx.data" }) File.Copy(Path.Combine(source, name), Path.Combine(folder, name));
        var model = ModelFile.Load(source);
        using var data = File.OpenWrite(Path.Combine(folder, "model.onnx.data"));
        foreach (var layer in LinearLayerFinder.Find(model, new GraphIndex(model.Proto.Graph), [], []).Layers)
        {
            Assert.Equal((DataType.Float16, false), ((DataType)layer.Weight.Tensor.DataType, layer.Weight.Transposed));
            using var bytes = model.Read(layer.Weight.Tensor);
            var w = MemoryMarshal.Cast<byte, Half>(bytes.Slice(0, (int)bytes.Length)).ToArray().Select(v => (float)v).ToArray();
            var values = method(w, layer.K, layer.N).Select(v => (Half)v).ToArray();
            data.Position = model.PlaceOf(layer.Weight.Tensor).Offset;
            data.Write(MemoryMarshal.AsBytes<Half>(values));
        }
    }
}
