using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Tests;

public sealed class FinderTests
{
    private static readonly float[] W = TestWeights.Normal(96, 40, 1);

    [Theory]
    [InlineData(DataType.Float16)]
    [InlineData(DataType.Bfloat16)]
    [InlineData(DataType.Float)]
    public void Find_ConstantWeight_IsALayer(DataType type)
    {
        var found = Find(TinyModel.TwoLayers(type));
        Assert.Equal(["first", "second"], found.Layers.Select(l => l.Name));
        Assert.Equal((96, 40), (found.Layers[0].K, found.Layers[0].N));
        Assert.Empty(found.Skipped);
    }

    [Fact]
    public void Find_TransposeIdentityAndConstantNode_AreFollowed()
    {
        var constant = new AttributeProto { Name = "value", Type = AttributeProto.Types.AttributeType.Tensor, T = TinyModel.Tensor("", DataType.Float, W, 96, 40) };
        var found = Find(new TinyModel()
            .Inline("wt", DataType.Float, W, 40, 96)
            .Node("Transpose", "t", ["wt"], ["w"], TinyModel.Ints("perm", 1, 0))
            .Node("Identity", "i", ["w"], ["w2"])
            .Node("MatMul", "a", ["x", "w2"], ["ya"])
            .Node("Constant", "c", [], ["wc"], constant)
            .Node("MatMul", "b", ["x", "wc"], ["yb"]));
        Assert.Equal([(96, 40, true), (96, 40, false)], found.Layers.Select(l => (l.K, l.N, l.Weight.Transposed)));
    }

    [Fact]
    public void Find_OtherProducts_AreSkippedWithTheirReason()
    {
        var model = new TinyModel()
            .Input("x", DataType.Float, "M", 96).Input("over", DataType.Float, 96, 40)
            .Inline("w", DataType.Float, W, 96, 40).Inline("over", DataType.Float, W, 96, 40)
            .Inline("w3", DataType.Float, W, 1, 96, 40).Inline("ids", DataType.Int64, W, 96, 40)
            .Node("MatMul", "dynamic", ["x", "q"], ["a"])
            .Node("MatMul", "left", ["w", "x"], ["b"])
            .Node("MatMul", "rank", ["x", "w3"], ["c"])
            .Node("MatMul", "integers", ["x", "ids"], ["d"])
            .Node("MatMul", "input", ["x", "over"], ["e"])
            .Node("Gemm", "gemm", ["x", "w"], ["f"])
            .Node("MatMulNBits", "nbits", ["x", "w"], ["g"])
            .Node("MatMul", "good", ["x", "w"], ["h"]);
        var found = Find(model);
        Assert.Equal(["good"], found.Layers.Select(l => l.Name));
        var reasons = found.Skipped.ToDictionary(s => s.Name, s => s.Reason);
        Assert.Equal(7, reasons.Count);
        Assert.Contains("computed", reasons["dynamic"], StringComparison.Ordinal);
        Assert.Contains("left operand", reasons["left"], StringComparison.Ordinal);
        Assert.Contains("3 dimensions", reasons["rank"], StringComparison.Ordinal);
        Assert.Contains("int64", reasons["integers"], StringComparison.Ordinal);
        Assert.Contains("graph input", reasons["input"], StringComparison.Ordinal);
        Assert.Contains("Gemm", reasons["gemm"], StringComparison.Ordinal);
        Assert.Contains("already quantized", reasons["nbits"], StringComparison.Ordinal);
    }

    [Fact]
    public void Find_SubgraphsAndFunctions_AreReported()
    {
        var branch = new GraphProto { Name = "then" };
        branch.Node.Add(new NodeProto { OpType = "MatMul", Name = "inside", Input = { "x", "w" }, Output = { "z" } });
        var model = new TinyModel().Inline("w", DataType.Float, W, 96, 40)
            .Node("If", "cond", ["c"], ["z"], new AttributeProto { Name = "then_branch", Type = AttributeProto.Types.AttributeType.Graph, G = branch });
        var function = new FunctionProto { Name = "F", Domain = "d" };
        function.Node.Add(new NodeProto { OpType = "MatMul", Name = "body", Input = { "a", "b" }, Output = { "c" } });
        model.Proto.Functions.Add(function);
        Assert.Equal(["inside", "body"], Find(model).Skipped.Select(s => s.Name));
    }

    /// <summary>None of these is an ONNX model, or none that we know the operators of; each must end in a reason, not in a hang or a defect.</summary>
    [Fact]
    public void Find_CyclesAndStrangers_AreNoConstants()
    {
        var constant = new AttributeProto { Name = "value", Type = AttributeProto.Types.AttributeType.Tensor, T = TinyModel.Tensor("", DataType.Float, W, 96, 40) };
        var model = new TinyModel().Inline("w", DataType.Float, W, 96, 40)
            .Node("Identity", "i1", ["b"], ["a"]).Node("Transpose", "i2", ["a"], ["b"]).Node("MatMul", "cycle", ["x", "a"], ["y1"])
            .Node("Identity", "self", ["s"], ["s"]).Node("MatMul", "self loop", ["x", "s"], ["y2"])
            .Node("Identity", "empty", [], ["e"]).Node("MatMul", "no input", ["x", "e"], ["y3"])
            .Node("Transpose", "two", ["w", "w"], ["t"]).Node("MatMul", "two inputs", ["x", "t"], ["y4"])
            .Node("Identity", "foreign i", ["w"], ["f"]).Node("MatMul", "foreign identity", ["x", "f"], ["y5"])
            .Node("Constant", "foreign c", [], ["c"], constant).Node("MatMul", "foreign constant", ["x", "c"], ["y6"]);
        foreach (var node in model.Proto.Graph.Node.Where(n => n.Name.StartsWith("foreign ", StringComparison.Ordinal) && n.OpType != "MatMul")) node.Domain = "com.example";
        var found = Find(model);
        Assert.Empty(found.Layers);
        Assert.Equal(6, found.Skipped.Count);
        Assert.All(found.Skipped, s => Assert.Contains("no constants", s.Reason, StringComparison.Ordinal));
    }

    [Fact]
    public void Find_ImpossibleSize_DoesNotWrapAround()
    {
        var model = new TinyModel().Inline("w", DataType.Float, [1], 1L << 32, 1L << 32).Node("MatMul", "m", ["x", "w"], ["y"]);
        Assert.Contains("elements", Assert.Single(Find(model).Skipped).Reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("first", "", "first")]
    [InlineData("", "*econd", "first")]
    [InlineData("*", "fir*", "second")]
    [InlineData("s?cond", "", "second")]
    public void Find_Globs_Choose(string include, string exclude, string expected)
    {
        var found = Find(TinyModel.TwoLayers(), include.Length > 0 ? [include] : [], exclude.Length > 0 ? [exclude] : []);
        Assert.Equal([expected], found.Layers.Select(l => l.Name));
        Assert.Contains("--", Assert.Single(found.Skipped).Reason, StringComparison.Ordinal);
    }

    private static FoundLayers Find(TinyModel tiny, string[]? include = null, string[]? exclude = null)
    {
        using var folder = new TempFolder();
        var model = ModelFile.Load(tiny.Save(folder.Path));
        return LinearLayerFinder.Find(model, new GraphIndex(model.Proto.Graph), include ?? [], exclude ?? []);
    }
}
