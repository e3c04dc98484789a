using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Onnx.IntScale.Tests;

/// <summary>The operator as a guest of ONNX Runtime: many threads, many sessions, a busy collector, and no allocations.</summary>
public class SessionTests
{
    [Fact]
    public void Register_Twice_IsOnce()
    {
        using var options = new SessionOptions();
        Assert.Same(options, IntScaleOps.Register(options));
        IntScaleOps.Register(options);
        var c = new OpCase().Fill();
        using var first = new InferenceSession(c.Model(), options);
        using var second = new InferenceSession(c.Model(), options);
        var a = c.Activations(2);
        OpRunner.AssertSameBits(c, OpRunner.Run(first, c, a, 1, 2, c.K).Y, OpRunner.Run(second, c, a, 1, 2, c.K).Y);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Run_ManyThreadsOnOneSession_SameBits(int intraOpThreads)
    {
        var c = new OpCase { K = 512, N = 300, BlockSize = 64, WithBias = true, Type = ElementType.Float16 }.Fill();
        using var session = OpRunner.Session(c.Model(), intraOpThreads);
        var inputs = Enumerable.Range(0, 4).Select(i => (M: 1 + (7 * i), A: c.Activations(1 + (7 * i), seed: i))).ToArray();
        var expected = inputs.Select(x => OpReference.Compute(c, x.A, x.M)).ToArray();
        using var stop = new CancellationTokenSource();
        var collector = Task.Run(() =>
        {
            while (!stop.IsCancellationRequested) GC.Collect();
        });
        await Task.WhenAll(Enumerable.Range(0, 4).Select(t => Task.Run(() =>
        {
            for (var i = 0; i < 100; i++)
            {
                var x = (t + i) % inputs.Length;
                OpRunner.AssertSameBits(c, expected[x], OpRunner.Run(session, c, inputs[x].A, 1, inputs[x].M, c.K).Y);
            }
        })));
        await stop.CancelAsync();
        await collector;
    }

    [Fact]
    public void Session_CreatedAndDestroyedRepeatedly_Works()
    {
        var c = new OpCase().Fill();
        var a = c.Activations(3);
        var expected = OpReference.Compute(c, a, 3);
        for (var i = 0; i < 30; i++)
        {
            using var session = OpRunner.Session(c.Model(), threads: 2);
            OpRunner.AssertSameBits(c, expected, OpRunner.Run(session, c, a, 3, 1, c.K).Y);
        }
    }

    /// <summary>
    /// The kernel reads B where ORT keeps it. ORT's own MatMulNBits repacks its B and lets ORT free the original, which must not
    /// happen to a B that both nodes use.
    /// </summary>
    [Fact]
    public void Run_WeightsSharedWithANodeThatRepacksThem_SameBits()
    {
        var c = new OpCase { K = 256, N = 256, BlockSize = 32 }.Fill();
        var model = ModelProto.Parser.ParseFrom(c.Model());
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "com.microsoft", Version = 1 });
        model.Graph.Initializer.Add(new TensorProto { Name = "float_scales", DataType = 1, Dims = { c.N, c.KBlocks }, RawData = Google.Protobuf.ByteString.CopyFrom(new byte[c.N * c.KBlocks * 4]) });
        var other = new NodeProto { Name = "other", OpType = "MatMulNBits", Domain = "com.microsoft", Input = { "A", "B", "float_scales" }, Output = { "Z" } };
        foreach (var name in (string[])["K", "N", "bits", "block_size"]) other.Attribute.Add(Ops.Attribute(name, c.Attributes[name]));
        other.Attribute.Add(Ops.Attribute("accuracy_level", 4));
        model.Graph.Node.Add(other);
        var z = model.Graph.Output[0].Clone();
        z.Name = "Z";
        model.Graph.Output.Add(z);
        using var session = OpRunner.Session(Google.Protobuf.MessageExtensions.ToByteArray(model));
        GC.Collect();
        var a = c.Activations(5);
        OpRunner.AssertSameBits(c, OpReference.Compute(c, a, 5), OpRunner.Run(session, c, a, 1, 5, c.K).Y);
    }

    /// <summary>
    /// A run through the binding allocates a little on the calling thread. A model of one built-in node with the same input and
    /// output shows how much; the operator, which computes on the calling thread here, must add nothing to it.
    /// </summary>
    [Theory]
    [InlineData(1)]
    [InlineData(40)]
    public void Run_AfterWarmUp_AllocatesNothingManaged(int m)
    {
        var c = new OpCase { K = 256, N = 256, BlockSize = 64, WithZeroPoints = true, WithBias = true }.Fill();
        using var ours = OpRunner.Session(c.Model());
        var identity = ModelProto.Parser.ParseFrom(c.Model());
        identity.Graph.Initializer.Clear();
        identity.Graph.Node[0] = new NodeProto { Name = OpCase.NodeName, OpType = "Identity", Input = { "A" }, Output = { "Y" } };
        using var builtIn = OpRunner.Session(Google.Protobuf.MessageExtensions.ToByteArray(identity));
        Assert.Equal(AllocatedBy(builtIn, c, m), AllocatedBy(ours, c, m));
    }

    private static long AllocatedBy(InferenceSession session, OpCase c, int m)
    {
        using var a = OpRunner.Tensor(TensorElementType.Float, c.Activations(m), 1, m, c.K);
        using var y = OpRunner.Tensor(TensorElementType.Float, new byte[4 * m * c.N], 1, m, c.N);
        using var run = new RunOptions();
        string[] inputNames = ["A"], outputNames = ["Y"];
        OrtValue[] inputs = [a], outputs = [y];
        for (var i = 0; i < 50; i++) session.Run(run, inputNames, inputs, outputNames, outputs);

        // A collection that another test starts gives up the rest of this thread's allocation buffer, which counts as allocated: the least of
        // several measurements is what the runs themselves allocate.
        return Enumerable.Range(0, 10).Min(_ =>
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            for (var i = 0; i < 100; i++) session.Run(run, inputNames, inputs, outputNames, outputs);
            return GC.GetAllocatedBytesForCurrentThread() - before;
        });
    }
}
