namespace Onnx.IntScale;

/// <summary>What a plan depends on of a node's weights beside their shape.</summary>
/// <param name="ZeroPoints">Whether there are zero points.</param>
/// <param name="MaxAccumulator">The overflow certificate (<see cref="Certificate"/>).</param>
/// <param name="LargestScale">max |scales|.</param>
internal readonly record struct WeightFacts(bool ZeroPoints, long MaxAccumulator, int LargestScale)
{
    private const long Times16Limit = 1L << 27;  // certificates under it leave the four bits that CudaFold.Times16 needs

    /// <summary>How group sums are multiplied by their scales.</summary>
    public CudaFold Fold => !ZeroPoints && MaxAccumulator < Times16Limit ? CudaFold.Times16 : CudaFold.Times1;

    /// <summary>Whether scale · (q - 8) always fits int8, so that <see cref="CudaFold.Scaled"/> will do.</summary>
    public bool FitInt8 => !ZeroPoints && LargestScale <= Certificate.LargestInt8Scale;

    /// <summary>The facts of weights that the host can read.</summary>
    public static unsafe WeightFacts Of(in WeightView weights)
    {
        var largest = 0;
        for (var n = 0; n < weights.Shape.N; n++)
        {
            foreach (var scale in new ReadOnlySpan<short>(weights.ScalesOf(n), weights.Shape.KBlocks)) largest = Math.Max(largest, Math.Abs((int)scale));
        }

        return new(weights.ZeroPoints != null, Certificate.Compute(weights), largest);
    }
}
