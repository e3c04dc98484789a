using Microsoft.ML.OnnxRuntime;

namespace Onnx.IntScale.Tests;

/// <summary>A model at fault is refused when the session is made (or, for what only a run shows, then), naming the node and the remedy.</summary>
public class RefusalTests
{
    [Theory]
    [InlineData("B")]
    [InlineData("scales")]
    [InlineData("channel_scales")]
    [InlineData("zero_points")]
    public void Session_WeightIsNotConstant_Refused(string name) =>
        Refused(new OpCase { WithZeroPoints = true }.Fill().Model(name), $"{name} is not a constant initializer", "make it one");

    [Theory]
    [InlineData("B")]
    [InlineData("scales")]
    [InlineData("channel_scales")]
    [InlineData("zero_points")]
    [InlineData("bias")]
    public void Session_WrongShape_Refused(string name)
    {
        var c = new OpCase { WithZeroPoints = true, WithBias = true }.Fill();
        var (type, dims, data) = c.Constants[name];
        c.Constants[name] = (type, [dims[0] / 2, .. dims[1..], 2], data);
        Refused(c.Model(), $"{name} has shape [35,", name == "bias" ? "reshape it" : "convert the model again");
    }

    [Theory]
    [InlineData("bits", 3, "use 4 or 8")]
    [InlineData("block_size", 24, "use 16, 32, 64, 128 or 256")]
    [InlineData("block_size", 8, "use 16, 32, 64, 128 or 256")]
    [InlineData("K", -1, "must be positive")]
    [InlineData("N", 0, "must be positive")]
    [InlineData("K", 1L << 40, "out of range")]
    [InlineData("amplifier", -4, "must be positive")]
    [InlineData("max_accumulator", 1L << 31, "lower --max-accumulator")]
    [InlineData("max_accumulator", 1000, "the certificate is not of these weights")]
    public void Session_BadAttribute_Refused(string name, long value, string remedy)
    {
        // A's shape is not declared, so that its last dimension is not what is complained about.
        var c = new OpCase { AShape = null }.Fill();
        c.Attributes[name] = value;
        Refused(c.Model(), $"{name}={value}", remedy);
    }

    [Theory]
    [InlineData("K")]
    [InlineData("N")]
    [InlineData("block_size")]
    public void Session_MissingAttribute_Refused(string name)
    {
        var c = new OpCase().Fill();
        c.Attributes.Remove(name);
        Refused(c.Model(), $"the int attribute {name} is missing", "add it");
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void Session_ChannelScaleIsNotFinite_Refused(float value)
    {
        var c = new OpCase().Fill();
        BitConverter.TryWriteBytes(c.Constants["channel_scales"].Data.AsSpan(4 * 5), value);
        Refused(c.Model(), "channel_scales[5] is", "not finite");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Session_WeightsCanOverflow_Refused(bool withAttribute)
    {
        var c = new OpCase { K = 1024, N = 4 }.Fill();
        var scales = c.Constants["scales"].Data;
        for (var i = 0; i < scales.Length; i += 2) BitConverter.TryWriteBytes(scales.AsSpan(i), short.MaxValue);
        Assert.True(OpReference.MaxAccumulator(c) > int.MaxValue);
        if (withAttribute) c.Attributes["max_accumulator"] = int.MaxValue;
        else c.Attributes.Remove("max_accumulator");
        Refused(c.Model(), "does not fit int32", "lower --max-accumulator");
    }

    [Fact]
    public void Session_OneWeightChanged_CertificateNoLongerFits()
    {
        var c = new OpCase { N = 1, K = 32 }.Fill();
        c.Constants["scales"].Data.AsSpan().Clear();
        BitConverter.TryWriteBytes(c.Constants["scales"].Data, (short)-77);
        c.Attributes["max_accumulator"] = OpReference.MaxAccumulator(c);
        OpRunner.Session(c.Model()).Dispose();
        BitConverter.TryWriteBytes(c.Constants["scales"].Data, (short)78);
        Refused(c.Model(), "the certificate is not of these weights", "convert the model again");
    }

    [Fact]
    public void Session_DeclaredKIsWrong_Refused()
    {
        var c = new OpCase { AShape = ["batch", 95L] }.Fill();
        Refused(c.Model(), "the last dimension of A is 95, but the weights are for K=96", "feed A with 96 features");
    }

    [Fact]
    public void Run_KIsWrong_Refused()
    {
        var c = new OpCase { AShape = ["batch", "features"] }.Fill();
        using var session = OpRunner.Session(c.Model());
        var e = Assert.Throws<OnnxRuntimeException>(() => OpRunner.Run(session, c, new byte[2 * 64 * 4], 2, 64));
        AssertSays(e, "the last dimension of A is 64, but the weights are for K=96", "feed A with 96 features");
        var a = c.Activations(2);
        OpRunner.AssertSameBits(c, OpReference.Compute(c, a, 2), OpRunner.Run(session, c, a, 2, c.K).Y);
    }

    [Fact]
    public void Run_AIsAScalar_Refused()
    {
        var c = new OpCase { AShape = null }.Fill();
        using var session = OpRunner.Session(c.Model());
        AssertSays(Assert.Throws<OnnxRuntimeException>(() => OpRunner.Run(session, c, new byte[4])), "A has 0 dimensions", "the last one of K=96");
    }

    [Fact]
    public void Run_ComputedBiasHasWrongShape_Refused()
    {
        var c = new OpCase { WithBias = true }.Fill();
        c.Constants["bias"] = (c.Constants["bias"].Type, [35, 2], c.Constants["bias"].Data);
        using var session = OpRunner.Session(c.Model("bias"));
        using var a = OpRunner.Tensor(Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float, c.Activations(1), 1, 1, c.K);
        using var bias = OpRunner.Tensor(Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float, c.Constants["bias"].Data, 35, 2);
        using var run = new RunOptions();
        AssertSays(Assert.Throws<OnnxRuntimeException>(() => session.Run(run, ["A", "bias"], [a, bias], ["Y"])), "bias has shape [35, 2], expected [70]", "reshape it");
    }

    [Fact]
    public void Session_WrongElementType_RefusedByOrt()
    {
        var c = new OpCase().Fill();
        var (_, dims, data) = c.Constants["scales"];
        c.Constants["scales"] = (TensorProto.Types.DataType.Uint16, dims, data);
        Assert.Contains(OpCase.NodeName, Assert.Throws<OnnxRuntimeException>(() => OpRunner.Session(c.Model())).Message);
    }

    private static void Refused(byte[] model, string fault, string remedy) =>
        AssertSays(Assert.Throws<OnnxRuntimeException>(() => OpRunner.Session(model)), fault, remedy);

    private static void AssertSays(OnnxRuntimeException e, string fault, string remedy)
    {
        Assert.Contains($"node '{OpCase.NodeName}' (com.intscale::MatMulNBitsIntScale)", e.Message);
        Assert.Contains(fault, e.Message);
        Assert.Contains(remedy, e.Message);
    }
}
