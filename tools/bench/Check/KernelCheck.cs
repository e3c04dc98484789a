namespace Onnx.IntScale.Bench;

/// <summary>What the kernels of a case were, and what was wrong.</summary>
/// <param name="Kernels">Names of the kernels launched.</param>
/// <param name="Fault">The first difference, or null.</param>
internal sealed record CheckOutcome(string Kernels, string? Fault);

/// <summary>
/// Runs cases on a device through the driver alone and compares every bit of Y with the specification. Scratch memory and Y are poisoned
/// before, and memory around Y must be as it was after.
/// </summary>
/// <param name="ordinal">Number of the GPU.</param>
/// <exception cref="CudaException">There is none, or it cannot be used.</exception>
internal sealed unsafe class KernelCheck(int ordinal) : IDisposable
{
    /// <summary>Calls of a case that follow each other at once, with the same scratch memory and other activations: each must wait for the one before.</summary>
    private const int Calls = 3;

    private const int Margin = 1024;
    private const byte Poison = 0xAB;

    private readonly DeviceStream _stream = new(ordinal);

    /// <summary>The device's name.</summary>
    public string Device => _stream.Context.Name;

    /// <summary>Runs a case.</summary>
    public CheckOutcome Run(CheckCase c)
    {
        using var use = _stream.Context.Use();
        using var data = new CheckData(c);
        if (data.MaxAccumulator > Certificate.Int32Limit) throw new InvalidOperationException($"{c}: not certified");
        using var b = DeviceArray.Of(data.B);
        using var scales = DeviceArray.Of(data.Scales);
        using var channelScales = DeviceArray.Of(data.ChannelScales);
        using var zeroPoints = DeviceArray.Of(data.ZeroPoints);
        using var bias = DeviceArray.Of(data.Bias);
        var weights = new WeightView(c.Shape, (byte*)b!.Pointer, (short*)scales!.Pointer, (float*)channelScales!.Pointer, zeroPoints == null ? null : (byte*)zeroPoints.Pointer);

        var facts = CudaCertificate.Compute(_stream.Context, weights);
        var expected = WeightFacts.Of(data.Weights);
        if (facts != expected) return new("certificate", $"the weights' facts are {facts}, expected {expected}");

        _stream.Context.Load(CudaPlanner.Modules(c.Shape, _stream.Context.Device));
        var plan = CudaPlanner.Plan(c.Shape, c.M, c.Type, facts, c.Sms == 0 ? _stream.Context.Device : _stream.Context.Device with { SmCount = c.Sms });
        using var scratch = new DeviceArray(CudaMatMul.ScratchBytes(plan));
        CudaDriver.Fill(scratch.Address, Poison, scratch.Bytes, _stream.Handle);

        var host = Enumerable.Range(0, Calls).Select(data.Activations).ToArray();
        var a = Array.ConvertAll(host, h => DeviceArray.Of(h)!);
        var yBytes = (long)c.M * c.Shape.N * Elements.SizeOf(c.Type);
        var y = Array.ConvertAll(host, _ => new DeviceArray(yBytes + (2 * Margin)));
        try
        {
            foreach (var output in y) CudaDriver.Fill(output.Address, Poison, output.Bytes, _stream.Handle);
            for (var i = 0; i < Calls; i++)
            {
                var call = CudaParams.Of(weights, c.M, c.Type);
                call.A = a[i].Pointer;
                call.Bias = bias == null ? null : bias.Pointer;
                call.Y = (byte*)y[i].Pointer + Margin;
                CudaMatMul.UseScratch(ref call, plan, scratch.Pointer);
                CudaMatMul.Launch(_stream.Context, plan, call, _stream.Handle);
            }

            CudaDriver.Synchronize(_stream.Handle);
            for (var i = 0; i < Calls; i++)
            {
                var got = y[i].ToHost();
                var fault = Specification.Difference(c, Specification.Compute(data, host[i]), got.AsSpan(Margin, (int)yBytes));
                if (fault == null && (got.AsSpan(0, Margin).ContainsAnyExcept(Poison) || got.AsSpan(Margin + (int)yBytes).ContainsAnyExcept(Poison))) fault = "memory beside Y was written";
                if (fault != null) return new(Kernels(plan), $"call {i}: {fault}");
            }
        }
        finally
        {
            Array.ForEach(a, x => x.Dispose());
            Array.ForEach(y, x => x.Dispose());
        }

        return new(Kernels(plan), null);
    }

    /// <inheritdoc/>
    public void Dispose() => _stream.Dispose();

    private static string Kernels(in CudaPlan plan)
    {
        var name = CudaKernels.All[plan.MatMul.Kernel].Name;
        return plan.Quantize.Threads == 0 ? name : $"{CudaKernels.All[plan.Quantize.Kernel].Name} + {name}";
    }
}
