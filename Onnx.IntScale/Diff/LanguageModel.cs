using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;

namespace Onnx.IntScale;

/// <summary>
/// A causal language model in an ONNX Runtime session on the CPU, with our operator registered: token ids in, logits and chosen
/// inner values out. Takes what ONNX Runtime GenAI's model builder writes (key/value cache) and plain exports (input_ids only).
/// </summary>
public sealed class LanguageModel : IDisposable
{
    private readonly InferenceSession _session;
    private readonly RunOptions _options = new();
    private readonly IReadOnlyList<ModelInput> _inputs;

    private LanguageModel(ModelFile model, InferenceSession session)
    {
        ModelPath = model.ModelPath;
        _session = session;
        _inputs = ModelInput.Of(ModelPath, session);
        Logits = LogitsName(model, session);
        Cache = [.. _inputs.Where(i => i.Role == InputRole.Past).Select(i => (i.Name, Present: "present" + i.Name[ModelInput.PastPrefix.Length..]))
            .Where(c => session.OutputMetadata.ContainsKey(c.Present))];
        Vocabulary = session.OutputMetadata[Logits].Dimensions[^1] is > 0 and var declared ? declared : Probe();
    }

    /// <summary>The .onnx file.</summary>
    public string ModelPath { get; }

    /// <summary>Name of the logits output, [1, tokens, <see cref="Vocabulary"/>].</summary>
    public string Logits { get; }

    /// <summary>Token ids are below this.</summary>
    public int Vocabulary { get; }

    /// <summary>Inputs that carry the key/value cache, each with the output that continues it; empty for models without a cache.</summary>
    public IReadOnlyList<(string Past, string Present)> Cache { get; }

    /// <summary>Makes a session.</summary>
    /// <param name="model">The model; its proto is not changed.</param>
    /// <param name="threads">Threads inside an operator; 0 for one per core.</param>
    /// <param name="taps">Inner values that <see cref="Run"/> can then be asked for, by name. They keep ONNX Runtime from fusing
    /// operators across them, which can move the last bits of what follows (perplexity: by about 1e-5 of it, or not at all).</param>
    /// <exception cref="ModelException">ONNX Runtime refuses the model, or its inputs or outputs are not those of a causal language model.</exception>
    public static LanguageModel Open(ModelFile model, int threads = 0, IReadOnlyCollection<string>? taps = null) => Open(model, threads, taps, _ => { });

    /// <summary>The same with more options, such as another execution provider; values still come and go in memory of this process. Our operator is registered last.</summary>
    internal static LanguageModel Open(ModelFile model, int threads, IReadOnlyCollection<string>? taps, Action<SessionOptions> configure)
    {
        using var options = Options(threads, configure);
        InferenceSession? session = null;
        try
        {
            session = taps is { Count: > 0 } || LinkedData.IsIn(model) ? OpenCopy(model, taps ?? [], options) : new InferenceSession(model.ModelPath, options);
            return new LanguageModel(model, session);
        }
        catch (OnnxRuntimeException e)
        {
            session?.Dispose();
            throw new ModelException(
                model.ModelPath, $"ONNX Runtime cannot load it ({OneLine(e)})",
                "check that the model is complete and that its operators are known to this version", e);
        }
        catch
        {
            session?.Dispose();
            throw;
        }
    }

    /// <summary>Runs tokens from an empty cache, or after the tokens of a given one.</summary>
    /// <param name="tokens">Ids, each below <see cref="Vocabulary"/>.</param>
    /// <param name="outputs">Names of outputs and taps to return.</param>
    /// <param name="past">The cache's values by input name, or null for an empty one; they stay the caller's.</param>
    /// <param name="pastLength">Tokens in the cache.</param>
    /// <returns>The values in the order of the names; dispose them.</returns>
    /// <exception cref="ModelException">ONNX Runtime reports a fault.</exception>
    /// <exception cref="OperationCanceledException"><see cref="Stop"/> was called.</exception>
    public IDisposableReadOnlyCollection<OrtValue> Run(
        ReadOnlySpan<int> tokens, IReadOnlyCollection<string> outputs, IReadOnlyDictionary<string, OrtValue>? past = null, int pastLength = 0)
    {
        var owned = new List<OrtValue>();
        try
        {
            var values = new OrtValue[_inputs.Count];
            for (var i = 0; i < values.Length; i++)
            {
                if (past != null && past.TryGetValue(_inputs[i].Name, out var given))
                {
                    values[i] = given;
                    continue;
                }

                values[i] = _inputs[i].Create(tokens, pastLength);
                owned.Add(values[i]);
            }

            return _session.Run(_options, [.. _inputs.Select(i => i.Name)], values, outputs);
        }
        catch (OnnxRuntimeException e)
        {
            if (_options.Terminate) throw new OperationCanceledException(e.Message, e);
            throw new ModelException(ModelPath, $"ONNX Runtime cannot run {tokens.Length} tokens after {pastLength} ({OneLine(e)})",
                "check that the ids belong to this model and that it takes so many tokens", e);
        }
        finally
        {
            owned.ForEach(v => v.Dispose());
        }
    }

    /// <summary>Ends the run in progress, at its next operator, and all to come. May be called from any thread.</summary>
    public void Stop() => _options.Terminate = true;

    /// <inheritdoc/>
    public void Dispose()
    {
        _session.Dispose();
        _options.Dispose();
    }

    private static SessionOptions Options(int threads, Action<SessionOptions> configure)
    {
        var options = new SessionOptions { IntraOpNumThreads = threads, LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
        // Two models take turns, and our own maths runs between them: spinning threads would steal their cores.
        options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0");
        try
        {
            configure(options);
            return IntScaleOps.Register(options);
        }
        catch (OrtException e)
        {
            options.Dispose();
            throw new ModelException("ONNX Runtime", e.Message, inner: e);
        }
        catch
        {
            options.Dispose();
            throw;
        }
    }

    /// <summary>Opens a copy of the graph. Embedded weights are shared by the copy; external ones stay where they are.</summary>
    private static InferenceSession OpenCopy(ModelFile model, IReadOnlyCollection<string> taps, SessionOptions options)
    {
        var proto = model.Proto.Clone();
        var present = proto.Graph.Output.Select(o => o.Name).ToHashSet(StringComparer.Ordinal);
        proto.Graph.Output.AddRange(taps.Where(present.Add).Select(name => new ValueInfoProto { Name = name }));
        options.AddSessionConfigEntry("session.model_external_initializers_file_folder_path", LinkedData.Relocate(model, proto));
        return new InferenceSession(proto.ToByteArray(), options);
    }

    private static string LogitsName(ModelFile model, InferenceSession session)
    {
        // The session's own outputs include taps, which come after the model's.
        foreach (var name in model.Proto.Graph.Output.Select(o => o.Name).OrderBy(n => n != "logits"))
        {
            var output = session.OutputMetadata[name];
            if (output.IsTensor && output.Dimensions.Length == 3 && ModelInput.IsFloat(output.ElementDataType)) return name;
        }

        throw new ModelException(
            model.ModelPath, "has no float output of shape [batch, tokens, vocabulary]",
            "export it as a causal language model whose output is named logits");
    }

    private int Probe()
    {
        var length = _inputs.First(i => i.Role == InputRole.Ids).Dimensions is [.., > 0 and var fixedLength] ? fixedLength : 1;
        using var values = Run(new int[length], [Logits]);
        return TensorRows.Of(values[0], $"{ModelPath}: output '{Logits}'").Columns;
    }

    private static string OneLine(Exception e) => string.Join(' ', e.Message.Split(['\r', '\n', ' '], StringSplitOptions.RemoveEmptyEntries));
}
