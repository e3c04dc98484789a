using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Onnx.IntScale.Tests;

/// <summary>Runs a case's model in ONNX Runtime and compares with the reference.</summary>
internal static class OpRunner
{
    /// <summary>A session of a model on the CPU, with the in-process operator unless told otherwise.</summary>
    public static InferenceSession Session(byte[] model, int threads = 1, Action<SessionOptions>? configure = null)
    {
        using var options = new SessionOptions { IntraOpNumThreads = threads, LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL };
        if (configure is null) IntScaleOps.Register(options);
        else configure(options);
        return new InferenceSession(model, options);
    }

    /// <summary>Runs A of the given shape (raw bytes of the case's type); returns Y's shape and bytes.</summary>
    public static (long[] Shape, byte[] Y) Run(InferenceSession session, OpCase c, byte[] a, params long[] shape)
    {
        using var input = Tensor((TensorElementType)c.Type, a, shape);
        using var run = new RunOptions();
        using var outputs = session.Run(run, ["A"], [input], ["Y"]);
        var info = outputs[0].GetTensorTypeAndShape();
        Assert.Equal((TensorElementType)c.Type, info.ElementDataType);
        return (info.Shape, outputs[0].GetTensorMutableRawData().ToArray());
    }

    /// <summary>A tensor of raw bytes in ORT's own memory.</summary>
    public static OrtValue Tensor(TensorElementType type, byte[] data, params long[] shape)
    {
        var value = OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, type, shape);
        data.CopyTo(value.GetTensorMutableRawData());
        return value;
    }

    /// <summary>Fails with the first element that differs.</summary>
    public static void AssertSameBits(OpCase c, byte[] expected, byte[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        if (expected.AsSpan().SequenceEqual(actual)) return;
        var at = expected.AsSpan().CommonPrefixLength(actual) / c.ElementSize;
        Assert.Fail($"{c}: Y[{at / c.N}, {at % c.N}] is {c.ReadElement(actual, at):R}, expected {c.ReadElement(expected, at):R}");
    }
}
