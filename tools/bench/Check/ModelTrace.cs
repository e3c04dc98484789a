using Microsoft.ML.OnnxRuntime;

namespace Onnx.IntScale.Bench;

/// <summary>What a language model computed on one execution provider: a prompt, then tokens one at a time, each after the cache of the run before.</summary>
internal sealed class ModelTrace : IDisposable
{
    private const string Profile = "profile";

    private readonly List<IDisposableReadOnlyCollection<OrtValue>> _values = [];
    private readonly List<IReadOnlyDictionary<string, OrtValue>> _runs = [];

    /// <summary>Where our nodes ran.</summary>
    public NodePlacement Placement { get; private set; } = new(new Dictionary<string, int>());

    /// <summary>Name of the logits.</summary>
    public string Logits { get; private set; } = "";

    /// <summary>Values of each run by name, in memory of this process.</summary>
    public IReadOnlyList<IReadOnlyDictionary<string, OrtValue>> Runs => _runs;

    /// <summary>Runs a model.</summary>
    /// <param name="model">The model; its external data is read where it lies.</param>
    /// <param name="taps">Inner values that become outputs. What is compared should have the same, since they keep ONNX Runtime from fusing across them.</param>
    /// <param name="options">Tokens and device.</param>
    /// <param name="cuda">Whether it runs on the GPU.</param>
    /// <param name="oursOnCpu">Whether our operator runs on the CPU nevertheless.</param>
    /// <exception cref="BenchException">The CUDA provider cannot be loaded, or there are not enough tokens.</exception>
    public static ModelTrace Of(ModelFile model, IReadOnlyList<string> taps, ModelCheckOptions options, bool cuda, bool oursOnCpu)
    {
        using var profiles = new ScratchFolder();
        var trace = new ModelTrace();
        try
        {
            using (var session = LanguageModel.Open(model, threads: 0, taps, Configure)) trace.Run(session, taps, options);
            // The session has written it when it is gone.
            trace.Placement = NodePlacement.Read(Directory.GetFiles(Path.GetDirectoryName(profiles[Profile])!).Single());
            return trace;
        }
        catch
        {
            trace.Dispose();
            throw;
        }

        void Configure(SessionOptions session)
        {
            if (cuda) CudaProvider.Append(session, options.Device, graph: false);
            IntScaleOps.Register(session, cuda: !oursOnCpu);
            session.ProfileOutputPathPrefix = profiles[Profile];
            session.EnableProfiling = true;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _values.ForEach(v => v.Dispose());

    private void Run(LanguageModel session, IReadOnlyList<string> taps, ModelCheckOptions options)
    {
        Logits = session.Logits;
        var tokens = options.TokensOf(session.Vocabulary);
        string[] names = [session.Logits, .. session.Cache.Select(c => c.Present), .. taps.Where(t => t != session.Logits)];
        // A model without a cache has nothing to continue from.
        var steps = session.Cache.Count == 0 ? 0 : options.Decode;
        Add(tokens[..options.Prompt], null, 0);
        for (var i = 0; i < steps; i++)
        {
            var past = session.Cache.ToDictionary(c => c.Past, c => _runs[^1][c.Present], StringComparer.Ordinal);
            Add(tokens.AsSpan(options.Prompt + i, 1), past, options.Prompt + i);
        }

        void Add(ReadOnlySpan<int> ids, IReadOnlyDictionary<string, OrtValue>? past, int pastLength)
        {
            var values = session.Run(ids, names, past, pastLength);
            _values.Add(values);
            _runs.Add(names.Zip(values).ToDictionary(p => p.First, p => p.Second, StringComparer.Ordinal));
        }
    }
}
