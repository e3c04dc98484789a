namespace Onnx.IntScale.Bench;

/// <summary>One operator's result at one shape.</summary>
/// <param name="K">Length of a dot product.</param>
/// <param name="N">Output channels.</param>
/// <param name="M">Rows of activations (tokens).</param>
/// <param name="Threads">Threads of ONNX Runtime's intra-op pool, the caller included.</param>
/// <param name="Operator">Name of the operator (<see cref="BenchOperator"/>).</param>
/// <param name="Kernel">Name of our CPU kernel; empty for ONNX Runtime's operators.</param>
/// <param name="Us">Median time of one Run in microseconds, the session's overhead included.</param>
/// <param name="Gops">2·M·N·K operations over that time, in 10^9 a second.</param>
/// <param name="Gbps">Weights, activations and outputs, each moved once, over that time, in 10^9 bytes a second.</param>
/// <param name="Ratio">Median over the rounds of MatMulNBits' time (level 4) / this operator's; above 1 is faster than MatMulNBits.</param>
internal sealed record BenchRow(int K, int N, int M, int Threads, string Operator, string Kernel, double Us, double Gops, double Gbps, double Ratio);
