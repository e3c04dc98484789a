namespace Onnx.IntScale.Bench;

/// <summary>What to run.</summary>
/// <param name="Model">A converted model: .onnx file or folder.</param>
/// <param name="Tokens">A .npy file of token ids, or null for random ones.</param>
/// <param name="Prompt">Tokens of the first run.</param>
/// <param name="Decode">Tokens that follow, one a run; none where the model has no cache.</param>
/// <param name="Seed">Seed of random tokens.</param>
/// <param name="MinTop1">Least share of positions with the same top token.</param>
/// <param name="Device">Number of the GPU.</param>
/// <param name="Cuda">Whether there is to be a GPU; without, both sides run on the CPU, to test the check itself.</param>
internal sealed record ModelCheckOptions(string Model, string? Tokens, int Prompt, int Decode, int Seed, double MinTop1, int Device, bool Cuda)
{
    /// <summary>Prompt and what follows it, in a row.</summary>
    /// <param name="vocabulary">Ids must be below this.</param>
    /// <exception cref="BenchException">The file has too few, or one that the model does not know.</exception>
    public int[] TokensOf(int vocabulary)
    {
        var count = Prompt + Decode;
        if (Tokens == null)
        {
            var random = new Random(Seed);
            return [.. Enumerable.Range(0, count).Select(_ => random.Next(vocabulary))];
        }

        var tokens = NpyFile.ReadTokens(Tokens);
        if (tokens.Length < count) throw new BenchException($"{Tokens}: holds {tokens.Length} tokens; {count} are asked for");
        var at = tokens.AsSpan(0, count).IndexOfAnyExceptInRange(0, vocabulary - 1);
        return at < 0 ? tokens[..count] : throw new BenchException($"{Tokens}: position {at}: token {tokens[at]} is outside the model's vocabulary of {vocabulary}");
    }
}

/// <summary>
/// A converted language model on the GPU: every node of our operator must give the specification's bits for the activations that it was
/// given there. Logits differ from the CPU's as well, since the other operators round differently there; with this operator on the CPU and
/// the others on the GPU they should not.
/// </summary>
internal static class ModelCheck
{
    /// <summary>Runs the model on both sides and compares.</summary>
    /// <exception cref="BenchException">The model has no node of our operator, or cannot be run.</exception>
    public static ModelCheckReport Run(ModelCheckOptions options, Action<string> progress)
    {
        var model = ModelFile.Load(options.Model);
        var nodes = IntScaleNode.Find(model);
        if (nodes.Count == 0) throw new BenchException($"{model.ModelPath}: has no {Ops.MatMulNBitsIntScale}; convert it first");
        var check = new NodeCheck(model);
        var taps = check.Taps(nodes);
        var provider = options.Cuda ? CudaProvider.Name : CudaProvider.Cpu;
        progress($"running on {provider}");
        using var actual = ModelTrace.Of(model, taps, options, options.Cuda, oursOnCpu: false);
        progress($"running on {provider}, our operator on the CPU");
        using var mixed = ModelTrace.Of(model, taps, options, options.Cuda, oursOnCpu: true);
        progress("running on the CPU");
        using var cpu = ModelTrace.Of(model, taps, options, cuda: false, oursOnCpu: false);
        progress("comparing");
        return new(
            model.ModelPath, provider, actual.Placement.Fault(provider, nodes.Count) ?? mixed.Placement.Fault(CudaProvider.Cpu, nodes.Count),
            [.. nodes.Select(n => check.Run(n, actual.Runs))],
            LogitsDiff.Of("the same with this operator on the CPU", mixed, actual), LogitsDiff.Of("the CPU's", cpu, actual), options.MinTop1);
    }
}
