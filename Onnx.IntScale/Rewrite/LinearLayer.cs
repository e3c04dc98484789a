namespace Onnx.IntScale;

/// <summary>Where a layer's weight is stored.</summary>
/// <param name="Tensor">The initializer, or a Constant node's value; [K, N], or [N, K] when transposed.</param>
/// <param name="Transposed">Whether the graph transposes it on the way.</param>
/// <param name="Name">The value's name at the MatMul, from which the new initializers' names are made.</param>
public sealed record WeightSource(TensorProto Tensor, bool Transposed, string Name);

/// <summary>A linear layer that will be rewritten: MatMul(A [..., K], W [K, N]) with constant W.</summary>
/// <param name="Name">Node name, or its output's where it has none.</param>
/// <param name="Node">The MatMul.</param>
/// <param name="Weight">W.</param>
/// <param name="K">Input features.</param>
/// <param name="N">Output channels.</param>
/// <param name="Type">Element type of A, W and Y.</param>
public sealed record LinearLayer(string Name, NodeProto Node, WeightSource Weight, int K, int N, ElementType Type);

/// <summary>A matrix product that will not be rewritten, and why.</summary>
/// <param name="Name">Node name.</param>
/// <param name="Reason">Plain words.</param>
public sealed record Skipped(string Name, string Reason);

/// <summary>Every matrix product of a model: each is a layer or has a reason why not.</summary>
/// <param name="Layers">In graph order.</param>
/// <param name="Skipped">In graph order.</param>
public sealed record FoundLayers(IReadOnlyList<LinearLayer> Layers, IReadOnlyList<Skipped> Skipped);
