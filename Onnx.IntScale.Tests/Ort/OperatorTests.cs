
namespace Onnx.IntScale.Tests;

/// <summary>The operator inside ONNX Runtime gives the formulas' bits, whatever the types, shapes, optional inputs and threads.</summary>
public class OperatorTests
{
    public static TheoryData<ElementType, bool, bool, int> TypesAndOptionalInputs()
    {
        var data = new TheoryData<ElementType, bool, bool, int>();
        foreach (var type in Enum.GetValues<ElementType>())
        {
            for (var optional = 0; optional < 4; optional++)
            {
                foreach (var threads in (int[])[1, 2]) data.Add(type, (optional & 1) != 0, (optional & 2) != 0, threads);
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(TypesAndOptionalInputs))]
    public void Run_TypesAndOptionalInputs_SameBitsAsFormula(ElementType type, bool zeroPoints, bool bias, int threads)
    {
        var c = new OpCase { K = 160, N = 200, BlockSize = 32, Type = type, WithZeroPoints = zeroPoints, WithBias = bias }.Fill();
        using var session = OpRunner.Session(c.Model(), threads);
        var a = c.Activations(12);
        var (shape, y) = OpRunner.Run(session, c, a, 3, 4, c.K);
        Assert.Equal([3, 4, c.N], shape);
        OpRunner.AssertSameBits(c, OpReference.Compute(c, a, 12), y);
    }

    [Theory]
    [InlineData(16, 4, 16, 1, 1)]
    [InlineData(33, 4, 16, 5, 2)] // K % block != 0, an odd number of blocks: zero_points end in half a byte
    [InlineData(100, 4, 32, 9, 65)]
    [InlineData(300, 4, 128, 17, 63)]
    [InlineData(257, 4, 256, 3, 130)]
    [InlineData(48, 8, 16, 2, 3)]
    [InlineData(700, 8, 64, 20, 129)]
    [InlineData(1024, 4, 64, 131, 320)]
    public void Run_Shapes_SameBitsAsFormula(int k, int bits, int blockSize, int m, int n)
    {
        var c = new OpCase { K = k, N = n, Bits = bits, BlockSize = blockSize, WithZeroPoints = true, WithBias = true, Seed = k }.Fill();
        var a = c.Activations(m);
        var expected = OpReference.Compute(c, a, m);
        foreach (var threads in (int[])[1, 2])
        {
            using var session = OpRunner.Session(c.Model(), threads);
            OpRunner.AssertSameBits(c, expected, OpRunner.Run(session, c, a, 1, m, c.K).Y);
        }
    }

    [Fact]
    public void Run_NoRows_GivesAnEmptyOutput()
    {
        var c = new OpCase().Fill();
        using var session = OpRunner.Session(c.Model());
        var (shape, y) = OpRunner.Run(session, c, [], 2, 0, c.K);
        Assert.Equal([2, 0, c.N], shape);
        Assert.Empty(y);
    }

    [Fact]
    public void Run_AIsAVector_GivesAVector()
    {
        var c = new OpCase { AShape = [0L] }.Fill();
        using var session = OpRunner.Session(c.Model());
        var a = c.Activations(1);
        var (shape, y) = OpRunner.Run(session, c, a, c.K);
        Assert.Equal([c.N], shape);
        OpRunner.AssertSameBits(c, OpReference.Compute(c, a, 1), y);
    }

    [Fact]
    public void Run_BiasComputedByTheGraph_IsUsed()
    {
        var c = new OpCase { WithBias = true }.Fill();
        using var session = OpRunner.Session(c.Model("bias"));
        var a = c.Activations(2);
        using var input = OpRunner.Tensor(Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float, a, 2, 1, c.K);
        using var bias = OpRunner.Tensor(Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float, c.Constants["bias"].Data, c.N);
        using var run = new Microsoft.ML.OnnxRuntime.RunOptions();
        using var outputs = session.Run(run, ["A", "bias"], [input, bias], ["Y"]);
        OpRunner.AssertSameBits(c, OpReference.Compute(c, a, 2), outputs[0].GetTensorMutableRawData().ToArray());
    }

    [Fact]
    public void ShapeInference_SymbolicDims_AreCarriedOver()
    {
        using var session = OpRunner.Session(new OpCase().Fill().Model());
        var y = session.OutputMetadata["Y"];
        Assert.Equal([-1, -1, 70], y.Dimensions);
        Assert.Equal(["batch", "sequence", ""], y.SymbolicDimensions);
    }

    [Fact]
    public void ShapeInference_UnknownDims_StayUnknownAndDistinct()
    {
        var c = new OpCase { AShape = ["", "", 0L] }.Fill();
        using var session = OpRunner.Session(c.Model());
        var y = session.OutputMetadata["Y"];
        Assert.Equal([-1, -1, 70], y.Dimensions);
        Assert.NotEqual(y.SymbolicDimensions[0], y.SymbolicDimensions[1]);
        Assert.Equal([2, 3, 70], OpRunner.Run(session, c, c.Activations(6), 2, 3, c.K).Shape);
    }

    [Theory]
    [InlineData(ElementType.Float)]
    [InlineData(ElementType.Float16)]
    [InlineData(ElementType.BFloat16)]
    public void ShapeInference_UnknownRank_RunsAnyRank(ElementType type)
    {
        var c = new OpCase { AShape = null, Type = type }.Fill();
        using var session = OpRunner.Session(c.Model());
        Assert.Equal([6, 70], OpRunner.Run(session, c, c.Activations(6), 6, c.K).Shape);
        Assert.Equal([1, 2, 3, 70], OpRunner.Run(session, c, c.Activations(6), 1, 2, 3, c.K).Shape);
    }

    [Fact]
    public void Bits_AttributeAbsent_Is4()
    {
        var c = new OpCase().Fill();
        c.Attributes.Remove("bits");
        using var session = OpRunner.Session(c.Model());
        var a = c.Activations(1);
        OpRunner.AssertSameBits(c, OpReference.Compute(c, a, 1), OpRunner.Run(session, c, a, 1, 1, c.K).Y);
    }

    [Fact]
    public void Certificate_AttributeAbsent_WeightsDecide()
    {
        var c = new OpCase().Fill();
        c.Attributes.Remove("max_accumulator");
        using var session = OpRunner.Session(c.Model());
        var a = c.Activations(1);
        OpRunner.AssertSameBits(c, OpReference.Compute(c, a, 1), OpRunner.Run(session, c, a, 1, 1, c.K).Y);
    }
}
