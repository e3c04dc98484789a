namespace Onnx.IntScale;

/// <summary>What is to be known of weights that lie on a device, for their check when a node is made. Waits for the device.</summary>
internal static unsafe class CudaCertificate
{
    /// <summary>The overflow certificate (<see cref="Certificate"/>), computed where the weights are.</summary>
    /// <exception cref="CudaException">CUDA fails.</exception>
    public static long Compute(CudaContext context, in WeightView weights)
    {
        context.Load(["certificate"]);
        using var use = context.Use();
        var result = CudaDriver.Alloc(sizeof(ulong));
        nint stream = 0;
        try
        {
            stream = CudaDriver.CreateStream();
            var parameters = CudaParams.Of(weights, 0, ElementType.Float);
            parameters.Y = (void*)result;
            CudaDriver.Fill(result, 0, sizeof(ulong), stream);
            CudaMatMul.Launch(context, CudaPlanner.Certificate(weights.Shape), parameters, stream);
            ulong max;
            CudaDriver.CopyToHost(&max, result, sizeof(ulong), stream);
            CudaDriver.Synchronize(stream);
            return (long)max;
        }
        finally
        {
            CudaDriver.Free(result);
            if (stream != 0) CudaDriver.DestroyStream(stream);
        }
    }

    /// <summary>channel_scales as the host can read them.</summary>
    /// <exception cref="CudaException">CUDA fails.</exception>
    public static float[] ChannelScales(CudaContext context, in WeightView weights)
    {
        using var use = context.Use();
        var scales = new float[weights.Shape.N];
        fixed (float* target = scales) CudaDriver.CopyToHost(target, (nint)weights.ChannelScales, (long)weights.Shape.N * sizeof(float));
        return scales;
    }
}
