namespace Onnx.IntScale;

/// <summary>What became of one layer.</summary>
/// <param name="Name">Node name.</param>
/// <param name="K">Input features.</param>
/// <param name="N">Output channels.</param>
/// <param name="Bits">Bits of a code.</param>
/// <param name="BlockSize">Block size.</param>
/// <param name="BytesBefore">Bytes of the float weight.</param>
/// <param name="BytesAfter">Bytes of the quantized one; 0 where another layer that shares the weight counts them.</param>
/// <param name="WeightError">‖w - ŵ‖ / ‖w‖.</param>
/// <param name="MaxAccumulator">The overflow certificate.</param>
/// <param name="Amplifier">The one amplifier of the matrix, or 0.</param>
/// <param name="AmplifierMin">Smallest amplifier of a channel that is not all zeros.</param>
/// <param name="AmplifierMax">Largest amplifier of a channel.</param>
/// <param name="LoweredChannels">Channels whose given amplifier was lowered to pass the limit, or the largest scale allowed.</param>
/// <param name="SharedWith">The layer whose weight this one shares, or null.</param>
public sealed record LayerReport(
    string Name,
    int K,
    int N,
    int Bits,
    int BlockSize,
    long BytesBefore,
    long BytesAfter,
    double WeightError,
    long MaxAccumulator,
    long Amplifier,
    double AmplifierMin,
    double AmplifierMax,
    int LoweredChannels,
    string? SharedWith)
{
    /// <summary>Bits between the certificate and 2^31 - 1.</summary>
    public double HeadroomBits => Math.Log2(Certificate.Int32Limit / (double)Math.Max(1, MaxAccumulator));
}

/// <summary>What a conversion did.</summary>
/// <param name="Input">The model read.</param>
/// <param name="Output">The model written.</param>
/// <param name="Layers">Rewritten layers, in graph order.</param>
/// <param name="Skipped">Matrix products left alone, with reasons.</param>
/// <param name="BytesBefore">Bytes of the whole model, graph and tensors.</param>
/// <param name="BytesAfter">The same of the output.</param>
/// <param name="Companions">Files copied along.</param>
public sealed record ConversionReport(
    string Input,
    string Output,
    IReadOnlyList<LayerReport> Layers,
    IReadOnlyList<Skipped> Skipped,
    long BytesBefore,
    long BytesAfter,
    IReadOnlyList<string> Companions);

/// <summary>How far a conversion is.</summary>
/// <param name="Step">What is being done: a layer's name, or "copying" and the like.</param>
/// <param name="Done">Bytes of input tensors dealt with.</param>
/// <param name="Total">Bytes of all input tensors.</param>
/// <param name="Layer">The layer just finished, or null.</param>
public sealed record ConversionProgress(string Step, long Done, long Total, LayerReport? Layer = null);
