using System.Diagnostics;

namespace Onnx.IntScale.Bench;

/// <summary>What to measure.</summary>
/// <param name="Models">.onnx files; ratios refer to the first.</param>
/// <param name="Prefill">Tokens of the first run.</param>
/// <param name="Decode">Runs of one token after it.</param>
/// <param name="Threads">Threads of ONNX Runtime's intra-op pool.</param>
/// <param name="Rounds">Rounds that count.</param>
/// <param name="Patience">How long to go on where other processes use the machine too; then the quietest rounds count.</param>
/// <param name="MinAgreement">Share of positions at which each model must have the same top token as one of the others.</param>
internal sealed record ModelBenchOptions(
    IReadOnlyList<string> Models, int Prefill, int Decode, int Threads, int Rounds, TimeSpan Patience, double MinAgreement);

/// <summary>One model's result.</summary>
/// <param name="Model">The .onnx file.</param>
/// <param name="PrefillTokensPerSecond">Median.</param>
/// <param name="DecodeTokensPerSecond">Median.</param>
/// <param name="PrefillRatio">Median over the rounds of the first model's time / this one's.</param>
/// <param name="DecodeRatio">Likewise.</param>
/// <param name="LoadSeconds">Time to make the session.</param>
/// <param name="LoadedMib">Resident set of a process that has loaded only this model.</param>
/// <param name="PeakMib">Its largest resident set, through loading, prefill and decoding.</param>
/// <param name="MappedMib">Pages of files in the resident set at the end.</param>
/// <param name="Agreement">Share of positions with the first model's top token.</param>
/// <param name="CacheAgreement">Share of decoded positions with the top token of a run without cache.</param>
internal sealed record ModelRow(
    string Model, double PrefillTokensPerSecond, double DecodeTokensPerSecond, double PrefillRatio, double DecodeRatio,
    double LoadSeconds, double LoadedMib, double PeakMib, double MappedMib, double Agreement, double CacheAgreement);

/// <summary>What was measured.</summary>
/// <param name="Together">Whether all models were in memory at once, or each was loaded for its turn in every round.</param>
/// <param name="OtherCores">Cores that other processes kept busy in each round that counts.</param>
/// <param name="DiscardedRounds">Rounds that do not count, since others were quieter.</param>
/// <param name="Rows">One for each model.</param>
internal sealed record ModelBenchResult(bool Together, IReadOnlyList<double> OtherCores, int DiscardedRounds, IReadOnlyList<ModelRow> Rows);

/// <summary>Whole models: probe each alone, check that they agree, time them in turn.</summary>
internal static class ModelBench
{
    // Of the memory there is, what the models may take together.
    private const double MemoryShare = 0.8;

    /// <summary>Measures everything.</summary>
    /// <exception cref="BenchException">A model cannot be used, has logits that are not finite, or agrees with no other.</exception>
    public static ModelBenchResult Run(ModelBenchOptions options, Action<string> progress)
    {
        var probes = options.Models.Select(model =>
        {
            progress($"probing {model}");
            return ModelProbe.InOwnProcess(model, options.Prefill, options.Decode, options.Threads);
        }).ToList();
        Check(options, probes);
        var together = probes.Sum(p => p.After.Peak) < MemoryShare * ProcessMemory.Available();
        var rounds = Rounds(options, probes[0].Vocabulary, together, progress);
        var kept = rounds.OrderBy(r => r.OtherCores).Take(options.Rounds).ToList();
        return new(together, [.. kept.Select(r => r.OtherCores)], rounds.Count - kept.Count, [.. options.Models.Select((model, i) => Row(model, i, options, probes, kept))]);
    }

    private static void Check(ModelBenchOptions options, IReadOnlyList<ModelProbe> probes)
    {
        for (var i = 0; i < probes.Count; i++)
        {
            var model = options.Models[i];
            if (probes[i].Vocabulary != probes[0].Vocabulary) throw new BenchException($"{model}: another vocabulary than {options.Models[0]}");
            if (probes[i].CacheAgreement < options.MinAgreement)
                throw new BenchException(Text.F($"{model}: with its cache only {probes[i].CacheAgreement:P0} of top tokens are as without; not timed"));
            var best = probes.Where((_, j) => j != i).Select(p => ModelProbe.Agreement(p.TopTokens, probes[i].TopTokens)).DefaultIfEmpty(1).Max();
            if (best < options.MinAgreement) throw new BenchException(Text.F($"{model}: at most {best:P0} of its top tokens are those of another model; not timed"));
        }
    }

    private sealed record Round(double OtherCores, IReadOnlyList<(double Prefill, double Decode)> Times);

    private static List<Round> Rounds(ModelBenchOptions options, int vocabulary, bool together, Action<string> progress)
    {
        var tokens = ModelProbe.Tokens(vocabulary, options.Prefill + options.Decode);
        var deadline = DateTime.UtcNow + options.Patience;
        using var host = new OrtHost(options.Threads);
        ModelSession Open(string model)
        {
            var session = new ModelSession(host, model, tokens.Length);
            Time(session, tokens, options.Prefill);
            return session;
        }

        var sessions = new List<ModelSession>();
        var rounds = new List<Round>();
        try
        {
            if (together) sessions.AddRange(options.Models.Select(Open));
            while (rounds.Count < options.Rounds || (rounds.Count(r => !(r.OtherCores > OtherLoad.Quiet)) < options.Rounds && DateTime.UtcNow < deadline))
            {
                var times = new (double, double)[options.Models.Count];
                var others = 0.0;
                foreach (var i in rounds.Count % 2 == 0 ? Enumerable.Range(0, times.Length) : Enumerable.Range(0, times.Length).Reverse())
                {
                    using var own = together ? null : Open(options.Models[i]);
                    var load = new OtherLoad();
                    times[i] = Time(own ?? sessions[i], tokens, options.Prefill);
                    others = Math.Max(others, load.Cores());
                }

                rounds.Add(new(others, times));
                progress(Text.F($"round {rounds.Count}: prefill and decode seconds ") + string.Join(", ", times.Select(t => Text.F($"{t.Item1:F3} + {t.Item2:F3}")))
                    + Text.F($"; other processes kept up to {others:F2} cores busy"));
            }
        }
        finally
        {
            sessions.ForEach(s => s.Dispose());
        }

        return rounds;
    }

    private static (double Prefill, double Decode) Time(ModelSession session, long[] tokens, int prefill)
    {
        session.Clear();
        session.Prepare(prefill);
        var start = Stopwatch.GetTimestamp();
        session.Run(tokens.AsMemory(0, prefill));
        var first = Stopwatch.GetElapsedTime(start).TotalSeconds;
        session.Prepare(1);
        start = Stopwatch.GetTimestamp();
        for (var t = prefill; t < tokens.Length; t++) session.Run(tokens.AsMemory(t, 1));
        return (first, Stopwatch.GetElapsedTime(start).TotalSeconds);
    }

    private static ModelRow Row(string model, int i, ModelBenchOptions options, IReadOnlyList<ModelProbe> probes, IReadOnlyList<Round> rounds)
    {
        var (prefill, decode) = (Times(i, t => t.Prefill), Times(i, t => t.Decode));
        var probe = probes[i];
        return new(
            model,
            options.Prefill / PairedTimer.Median(prefill),
            options.Decode / PairedTimer.Median(decode),
            PairedTimer.MedianRatio(Times(0, t => t.Prefill), prefill),
            PairedTimer.MedianRatio(Times(0, t => t.Decode), decode),
            probe.LoadSeconds,
            probe.Loaded.Resident,
            probe.After.Peak,
            probe.After.Mapped,
            ModelProbe.Agreement(probes[0].TopTokens, probe.TopTokens),
            probe.CacheAgreement);
        List<double> Times(int model, Func<(double Prefill, double Decode), double> part) => [.. rounds.Select(r => part(r.Times[model]))];
    }
}
