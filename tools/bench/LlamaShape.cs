namespace Onnx.IntScale.Bench;

/// <summary>Sizes of a Llama model.</summary>
/// <param name="Name">What the command line calls it.</param>
/// <param name="Hidden">Width of the residual stream.</param>
/// <param name="Layers">Transformer layers.</param>
/// <param name="Heads">Query heads.</param>
/// <param name="KvHeads">Key/value heads.</param>
/// <param name="HeadSize">Length of a head.</param>
/// <param name="Mlp">Width of the MLP.</param>
/// <param name="Vocabulary">Tokens.</param>
/// <param name="RopeTheta">Base of the rotary embedding.</param>
/// <param name="Positions">Rows of the rotary caches: the longest sequence.</param>
internal sealed record LlamaShape(string Name, int Hidden, int Layers, int Heads, int KvHeads, int HeadSize, int Mlp, int Vocabulary, double RopeTheta, int Positions)
{
    /// <summary>The shapes that have a name. Longer contexts than these models are measured with would only grow the rotary caches.</summary>
    public static IReadOnlyList<LlamaShape> All =>
    [
        new("tiny", 128, 2, 2, 1, 64, 256, 512, 10000, 256),
        new("llama-3.2-1b", 2048, 16, 32, 8, 64, 8192, 128256, 500000, 8192),
        new("llama-3-8b", 4096, 32, 32, 8, 128, 14336, 128256, 500000, 8192),
    ];

    /// <summary>Width of all query heads.</summary>
    public int QueryWidth => Heads * HeadSize;

    /// <summary>Width of all key (or value) heads.</summary>
    public int KvWidth => KvHeads * HeadSize;

    /// <summary>Weights of the linear layers, the embedding and the output layer; the latter two are not tied.</summary>
    public long Weights =>
        (Layers * (((2L * QueryWidth) + (2L * KvWidth) + (3L * Mlp)) * Hidden)) + (2L * Vocabulary * Hidden);
}
