namespace Onnx.IntScale;

/// <summary>A weight matrix in the operator's form.</summary>
/// <param name="B">Codes [N, KBlocks, BlockBytes].</param>
/// <param name="Scales">Integer group scales [N, KBlocks].</param>
/// <param name="ChannelScales">Units of the integers [N].</param>
/// <param name="Summary">All there is to know besides.</param>
public sealed record QuantizedWeight(byte[] B, short[] Scales, float[] ChannelScales, WeightSummary Summary);

/// <summary>What is known of a quantized matrix once its tensors are written and let go.</summary>
/// <param name="Shape">K, N, bits, block_size.</param>
/// <param name="Bytes">Bytes of B, scales and channel_scales.</param>
/// <param name="Amplifier">The one amplifier of the whole matrix, or 0 where channels have their own.</param>
/// <param name="MaxAccumulator">The overflow certificate (see <see cref="Certificate"/>).</param>
/// <param name="Error">‖w - ŵ‖ / ‖w‖ over the whole matrix, ŵ being what the operator multiplies by; 0 for a matrix of zeros.</param>
/// <param name="AmplifierMin">Smallest 1 / channel_scale, channels of zeros left out; 1 where there is no other.</param>
/// <param name="AmplifierMax">Largest 1 / channel_scale, likewise.</param>
/// <param name="LoweredChannels">Channels whose given amplifier was lowered to pass the limit, or the largest scale allowed.</param>
public sealed record WeightSummary(
    MatMulShape Shape,
    long Bytes,
    long Amplifier,
    long MaxAccumulator,
    double Error,
    double AmplifierMin,
    double AmplifierMax,
    int LoweredChannels);
