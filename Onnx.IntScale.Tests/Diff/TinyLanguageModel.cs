using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Tests;

/// <summary>
/// A language model of one token's memory: embedding [V, 64] → first [64, 96] → Relu → head [96, V].
/// Small enough that a test computes its logits itself.
/// </summary>
internal static class TinyLanguageModel
{
    public const int Vocabulary = 40;
    private const int Hidden = 64;
    private const int Inner = 96;

    public static TinyModel Create(DataType type = DataType.Float, int vocabulary = Vocabulary, DataType ids = DataType.Int64, int seed = 1)
    {
        var model = new TinyModel().Input("input_ids", ids, "batch", "tokens").Output("logits", type, "batch", "tokens", vocabulary);
        model.External("embedding", type, Weights(vocabulary, Hidden, seed), vocabulary, Hidden);
        model.External("first_w", type, Weights(Hidden, Inner, seed + 1), Hidden, Inner).External("head_w", type, Weights(Inner, vocabulary, seed + 2), Inner, vocabulary);
        model.Node("Gather", "embed", ["embedding", "input_ids"], ["x"]).Node("MatMul", "first", ["x", "first_w"], ["h"]);
        return model.Node("Relu", "act", ["h"], ["r"]).Node("MatMul", "head", ["r", "head_w"], ["logits"]);
    }

    /// <summary>Logits that follow a token, in double.</summary>
    public static double[] Logits(int token, int seed = 1)
    {
        var x = Weights(Vocabulary, Hidden, seed).AsSpan(token * Hidden, Hidden).ToArray().Select(v => (double)v).ToArray();
        return Times(Times(x, Weights(Hidden, Inner, seed + 1), Inner).Select(v => Math.Max(0, v)).ToArray(), Weights(Inner, Vocabulary, seed + 2), Vocabulary);
    }

    public static int[] Tokens(int count, int seed = 7)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(Vocabulary))];
    }

    /// <summary>Large enough for logits that differ from token to token.</summary>
    private static float[] Weights(int k, int n, int seed) => [.. TestWeights.Normal(k, n, seed).Select(v => v * 15)];

    private static double[] Times(double[] x, float[] w, int n) =>
        [.. Enumerable.Range(0, n).Select(j => x.Select((v, k) => v * w[(k * n) + j]).Sum())];
}
