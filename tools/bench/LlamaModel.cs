using System.Runtime.InteropServices;
using Google.Protobuf;
using DataType = Onnx.TensorProto.Types.DataType;

namespace Onnx.IntScale.Bench;

/// <summary>How a model is written.</summary>
/// <param name="Form">How linear layers are kept.</param>
/// <param name="Type">Type of the activations and the key/value cache.</param>
/// <param name="Seed">Of the weights, which are the same in every form.</param>
/// <param name="RandomCodes">Whether codes and scales are drawn, which is fast and makes the float form the very weights that they stand for; otherwise float16 weights are, and quantized.</param>
/// <param name="PackedQkv">Whether query, key and value are one layer.</param>
/// <param name="LargestScale">Of the integer scales that are drawn.</param>
internal sealed record LlamaOptions(
    WeightForm Form, ElementType Type = ElementType.Float16, int Seed = 1, bool RandomCodes = false, bool PackedQkv = false, int LargestScale = short.MaxValue);

/// <summary>
/// Writes a Llama model with seeded random weights, in the graph form of ONNX Runtime GenAI's model builder (as models/classics-13m
/// has it); one weight is in memory at a time.
/// </summary>
internal sealed class LlamaModel : IDisposable
{
    private const float Epsilon = 1e-5f;

    // Of random codes, as the quantizer's defaults.
    private const int CodeBits = 4;
    private const int CodeBlock = 128;

    private readonly LlamaShape _shape;
    private readonly LlamaOptions _options;
    private readonly RandomTensors _random;
    private readonly Action<string> _progress;
    private readonly ModelWriter _writer;
    private readonly GraphProto _graph = new() { Name = "main_graph" };

    private LlamaModel(string path, LlamaShape shape, LlamaOptions options, bool replace, Action<string> progress)
    {
        (_shape, _options, _progress) = (shape, options, progress);
        _random = new(options.Seed);
        _writer = new(path, replace) { Flush = false };
    }

    /// <summary>Writes a model.</summary>
    /// <param name="path">The .onnx file; its data goes beside it.</param>
    /// <param name="shape">Sizes.</param>
    /// <param name="options">Form of the weights, and the like.</param>
    /// <param name="replace">Whether files that exist may be replaced.</param>
    /// <param name="progress">Told each layer's name.</param>
    /// <returns>Bytes written.</returns>
    /// <exception cref="ModelException">The output cannot be written.</exception>
    public static long Write(string path, LlamaShape shape, LlamaOptions options, bool replace, Action<string> progress)
    {
        using var model = new LlamaModel(path, shape, options, replace, progress);
        return model.Write();
    }

    /// <inheritdoc/>
    public void Dispose() => _writer.Dispose();

    private long Write()
    {
        Value(_graph.Input, "input_ids", DataType.Int64, "batch_size", "sequence_length");
        Value(_graph.Input, "attention_mask", DataType.Int64, "batch_size", "total_sequence_length");
        Value(_graph.Output, "logits", Float, "batch_size", "sequence_length", _shape.Vocabulary);
        RotaryCaches();
        Lengths();

        const string Embedding = "model.embed_tokens.weight";
        using (var table = _random.Normal(Embedding, (long)_shape.Vocabulary * _shape.Hidden, 1))
            _graph.Initializer.Add(LinearForm.FloatTensor(_writer, Embedding, [_shape.Vocabulary, _shape.Hidden], table, _options.Type));
        var residual = Node("Gather", "", "/model/embed_tokens/Gather", [Embedding, "input_ids"]);
        var branch = "";
        for (var i = 0; i < _shape.Layers; i++)
        {
            _progress($"layer {i + 1} of {_shape.Layers}");
            var at = $"/model/layers.{i}";
            var weights = $"model.layers.{i}";
            var input = Norm(i == 0 ? $"{at}/input_layernorm/LayerNorm" : $"{at}/input_layernorm", $"{weights}.input_layernorm.weight", ref residual, branch);
            branch = Attention(i, input);
            var middle = Norm($"{at}/post_attention_layernorm", $"{weights}.post_attention_layernorm.weight", ref residual, branch);
            branch = Mlp($"{at}/mlp", $"{weights}.mlp", middle);
        }

        _progress("lm_head");
        var last = Norm("/model/final_norm", "model.norm.weight", ref residual, branch, isLast: true);
        Linear("/lm_head/MatMul", "lm_head.MatMul.weight", last, _shape.Hidden, _shape.Vocabulary, output: "logits");
        var proto = new ModelProto
        {
            IrVersion = 10,
            ProducerName = "intscale bench, random weights",
            OpsetImport = { new OperatorSetIdProto { Domain = "", Version = 18 }, new OperatorSetIdProto { Domain = Ops.MicrosoftDomain, Version = 1 } },
            Graph = _graph,
        };
        if (_options.Form == WeightForm.IntScale4) proto.OpsetImport.Add(new OperatorSetIdProto { Domain = Ops.Domain, Version = Ops.DomainVersion });
        return _writer.DataBytes + _writer.Commit(proto);
    }

    private DataType Float => _options.Type == ElementType.Float ? DataType.Float : DataType.Float16;

    private string Attention(int i, string input)
    {
        var (at, weights) = ($"/model/layers.{i}/attn", $"model.layers.{i}.attn");
        (string Name, int Width)[] projections = _options.PackedQkv
            ? [("qkv", _shape.QueryWidth + (2 * _shape.KvWidth))]
            : [("q", _shape.QueryWidth), ("k", _shape.KvWidth), ("v", _shape.KvWidth)];
        var heads = projections.Select(p => Linear($"{at}/{p.Name}_proj/MatMul", $"{weights}.{p.Name}_proj.MatMul.weight", input, _shape.Hidden, p.Width)).ToList();
        if (_options.PackedQkv) heads.AddRange(["", ""]);
        var name = $"{at}/GroupQueryAttention";
        foreach (var part in new[] { "key", "value" })
        {
            Value(_graph.Input, $"past_key_values.{i}.{part}", Float, "batch_size", _shape.KvHeads, "past_sequence_length", _shape.HeadSize);
            Value(_graph.Output, $"present.{i}.{part}", Float, "batch_size", _shape.KvHeads, "total_sequence_length", _shape.HeadSize);
        }

        var attended = Node("GroupQueryAttention", Ops.MicrosoftDomain, name,
            [.. heads, $"past_key_values.{i}.key", $"past_key_values.{i}.value",
                "/model/attn_mask_reformat/seqlens_k/output_0", "/model/attn_mask_reformat/total/output_0", "cos_cache", "sin_cache"],
            [$"{name}/output_0", $"present.{i}.key", $"present.{i}.value"],
            Ops.Attribute("do_rotary", 1), Ops.Attribute("kv_num_heads", _shape.KvHeads), Ops.Attribute("local_window_size", -1),
            Ops.Attribute("num_heads", _shape.Heads), Ops.Attribute("rotary_interleaved", 0), FloatAttribute("scale", 1 / MathF.Sqrt(_shape.HeadSize)));
        return Linear($"{at}/o_proj/MatMul", $"{weights}.o_proj.MatMul.weight", attended, _shape.QueryWidth, _shape.Hidden, intoResidual: true);
    }

    private string Mlp(string at, string weights, string input)
    {
        var gate = Linear($"{at}/gate_proj/MatMul", $"{weights}.gate_proj.MatMul.weight", input, _shape.Hidden, _shape.Mlp);
        var up = Linear($"{at}/up_proj/MatMul", $"{weights}.up_proj.MatMul.weight", input, _shape.Hidden, _shape.Mlp);
        var sigmoid = Node("Sigmoid", "", $"{at}/act_fn/Sigmoid", [gate]);
        var silu = Node("Mul", "", $"{at}/act_fn/Mul", [gate, sigmoid]);
        var gated = Node("Mul", "", $"{at}/Mul", [silu, up]);
        return Linear($"{at}/down_proj/MatMul", $"{weights}.down_proj.MatMul.weight", gated, _shape.Mlp, _shape.Hidden, intoResidual: true);
    }

    /// <summary>Root mean square norm of the residual stream, after adding a branch to it where there is one.</summary>
    private string Norm(string name, string weight, ref string residual, string branch, bool isLast = false)
    {
        var ones = new byte[_shape.Hidden * Elements.SizeOf(_options.Type)];
        if (_options.Type == ElementType.Float) MemoryMarshal.Cast<byte, float>(ones.AsSpan()).Fill(1);
        else MemoryMarshal.Cast<byte, Half>(ones.AsSpan()).Fill(Half.One);
        _graph.Initializer.Add(new TensorProto { Name = weight, DataType = (int)Float, Dims = { _shape.Hidden }, RawData = ByteString.CopyFrom(ones) });
        if (branch.Length == 0)
        {
            return Node("SimplifiedLayerNormalization", "", name, [residual, weight], null,
                Ops.Attribute("axis", -1), FloatAttribute("epsilon", Epsilon), Ops.Attribute("stash_type", 1));
        }

        var sum = $"{name}/output_3";
        var normed = Node("SkipSimplifiedLayerNormalization", Ops.MicrosoftDomain, name, [residual, branch, weight],
            isLast ? [$"{name}/output_0"] : [$"{name}/output_0", "", "", sum], FloatAttribute("epsilon", Epsilon));
        residual = sum;
        return normed;
    }

    /// <summary>
    /// A linear layer; outputs have about the size of inputs (deviation 1/√K). What goes into the residual stream is smaller by the root
    /// of the number of such layers, as models are initialized, so that float16 holds all activations.
    /// </summary>
    private string Linear(string name, string weight, string input, int k, int n, string? output = null, bool intoResidual = false)
    {
        var matMul = new NodeProto { Name = name, OpType = "MatMul", Input = { input, weight }, Output = { output ?? $"{name}/output_0" } };
        var deviation = 1 / Math.Sqrt(intoResidual ? 2.0 * _shape.Layers * k : k);
        if (_options.RandomCodes)
        {
            var shape = new MatMulShape(k, n, CodeBits, CodeBlock);
            LinearForm.Write(_graph, _writer, matMul, RandomCodes.Draw(shape, _random.Hash(weight), deviation, _options.LargestScale), _options.Form, _options.Type);
            return matMul.Output[0];
        }

        using var values = _random.Normal(weight, (long)k * n, deviation);
        LinearForm.Write(_graph, _writer, matMul, values, k, n, _options.Form, _options.Type);
        return matMul.Output[0];
    }

    /// <summary>What GroupQueryAttention asks for: the cache's length before this run, and the length after it, from attention_mask.</summary>
    private void Lengths()
    {
        const string At = "/model/attn_mask_reformat";
        foreach (var name in new[] { "/const/one", "/const/i1" })
            _graph.Initializer.Add(new TensorProto { Name = name, DataType = (int)DataType.Int64, Dims = { 1 }, RawData = ByteString.CopyFrom(BitConverter.GetBytes(1L)) });
        var sum = Node("ReduceSum", "", $"{At}/ReduceSum", ["attention_mask", "/const/one"], null, Ops.Attribute("keepdims", 0));
        Node("Cast", "", $"{At}/seqlens_k", [Node("Sub", "", $"{At}/Sub", [sum, "/const/one"])], null, Ops.Attribute("to", (long)DataType.Int32));
        var length = Node("Gather", "", $"{At}/Gather", [Node("Shape", "", $"{At}/Shape", ["attention_mask"]), "/const/i1"], null, Ops.Attribute("axis", 0));
        Node("Cast", "", $"{At}/total", [length], null, Ops.Attribute("to", (long)DataType.Int32));
    }

    private void RotaryCaches()
    {
        var half = _shape.HeadSize / 2;
        foreach (var (name, function) in new (string, Func<double, double>)[] { ("cos_cache", Math.Cos), ("sin_cache", Math.Sin) })
        {
            using var cache = new TensorBuffer((long)_shape.Positions * half * sizeof(ushort));
            var values = MemoryMarshal.Cast<byte, Half>(cache.Slice(0, (int)cache.Length));
            for (var i = 0; i < values.Length; i++) values[i] = (Half)function(i / half * Math.Pow(_shape.RopeTheta, -(i % half) / (double)half));
            _graph.Initializer.Add(LinearForm.FloatTensor(_writer, name, [_shape.Positions, half], cache, _options.Type));
        }
    }

    /// <summary>Adds a node; its only output, or the first, is called after it.</summary>
    private string Node(string type, string domain, string name, string[] inputs, string[]? outputs = null, params AttributeProto[] attributes)
    {
        outputs ??= [$"{name}/output_0"];
        _graph.Node.Add(new NodeProto { Name = name, OpType = type, Domain = domain, Input = { inputs }, Output = { outputs }, Attribute = { attributes } });
        return outputs[0];
    }

    private static AttributeProto FloatAttribute(string name, float value) => new() { Name = name, Type = AttributeProto.Types.AttributeType.Float, F = value };

    /// <summary>Declares an input or output; dimensions are numbers or names.</summary>
    private static void Value(IList<ValueInfoProto> list, string name, DataType type, params object[] dims)
    {
        var shape = new TensorShapeProto();
        foreach (var dim in dims)
            shape.Dim.Add(dim is int size ? new TensorShapeProto.Types.Dimension { DimValue = size } : new TensorShapeProto.Types.Dimension { DimParam = (string)dim });
        list.Add(new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)type, Shape = shape } } });
    }
}
