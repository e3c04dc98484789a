namespace Onnx.IntScale.Bench;

/// <summary>A fault that is told to the user as one line: a wrong option, or an operator that computes something else than it should.</summary>
internal sealed class BenchException(string message) : Exception(message);
