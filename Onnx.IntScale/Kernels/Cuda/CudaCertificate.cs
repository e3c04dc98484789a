namespace Onnx.IntScale;

/// <summary>What is to be known of weights that lie on a device, for their check when a node is made. Waits for the device.</summary>
internal static unsafe class CudaCertificate
{
    /// <summary>The overflow certificate (<see cref="Certificate"/>) and the largest scale, computed where the weights are.</summary>
    /// <exception cref="CudaException">CUDA fails.</exception>
    public static WeightFacts Compute(CudaContext context, in WeightView weights)
    {
        context.Load(["certificate"]);
        using var use = context.Use();
        const int Bytes = 2 * sizeof(ulong);
        var result = CudaDriver.Alloc(Bytes);
        nint stream = 0;
        try
        {
            stream = CudaDriver.CreateStream();
            var parameters = CudaParams.Of(weights, 0, ElementType.Float);
            parameters.Y = (void*)result;
            CudaDriver.Fill(result, 0, Bytes, stream);
            CudaMatMul.Launch(context, CudaPlanner.Certificate(weights.Shape), parameters, stream);
            var found = stackalloc ulong[2];
            CudaDriver.CopyToHost(found, result, Bytes, stream);
            CudaDriver.Synchronize(stream);
            return new(weights.ZeroPoints != null, (long)found[0], (int)found[1]);
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
