namespace Onnx.IntScale.Bench;

/// <summary>One operator's result at one shape on the GPU.</summary>
/// <param name="K">Length of a dot product.</param>
/// <param name="N">Output channels.</param>
/// <param name="M">Rows of activations (tokens).</param>
/// <param name="BlockSize">Weights that share a scale.</param>
/// <param name="Nodes">Nodes of the graph.</param>
/// <param name="Operator">Name of the operator (<see cref="CudaOperator"/>).</param>
/// <param name="Us">Median time of one Run / nodes, in microseconds.</param>
/// <param name="Tops">2·M·N·K operations over that time, in 10^12 a second.</param>
/// <param name="WeightGbps">The operator's own weights, read once, over that time, in 10^9 bytes a second.</param>
/// <param name="RooflineShare">The least time for an operator of int4 weights and int8 activations (<see cref="Roofline"/>) / this time.</param>
/// <param name="Ratio">Median over the rounds of the best operator's time / this one's; above 1 is faster than it.</param>
/// <param name="Best">Whether it is the fastest of ONNX Runtime's operators here; one whose models are stored for one kind of GPU does not count.</param>
internal sealed record CudaRow(
    int K, int N, int M, int BlockSize, int Nodes, string Operator, double Us, double Tops, double WeightGbps, double RooflineShare, double Ratio, bool Best);
