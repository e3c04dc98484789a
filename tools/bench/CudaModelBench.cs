using System.Diagnostics;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Onnx.IntScale.Bench;

/// <summary>What to measure.</summary>
/// <param name="Models">.onnx files; ratios refer to the first.</param>
/// <param name="Prefill">Tokens of a first run, batch 1; 0 for none.</param>
/// <param name="Batches">Sequences that are decoded at once.</param>
/// <param name="Past">Tokens before the one that is decoded.</param>
/// <param name="SecondsPerModel">Time for each model and phase.</param>
/// <param name="Turn">How long a model runs before the next one's turn; the first half is not counted.</param>
/// <param name="FpAIntB">Whether models with MatMulNBits are run a second time, with ONNX Runtime's CUTLASS kernels.</param>
/// <param name="Graphs">Whether runs are replayed from CUDA graphs.</param>
/// <param name="MinAgreement">Share of positions at which each model must have the same top token as one of the others.</param>
/// <param name="Cuda">Whether there is to be a GPU; without, everything runs on the CPU, to test the benchmark itself.</param>
internal sealed record CudaModelOptions(
    IReadOnlyList<string> Models, int Prefill, IReadOnlyList<int> Batches, int Past, double SecondsPerModel, TimeSpan Turn, bool FpAIntB, bool Graphs, double MinAgreement, bool Cuda);

/// <summary>One model's result in one phase.</summary>
/// <param name="Model">Name of its folder, and what else tells it apart.</param>
/// <param name="Phase">prefill or decode.</param>
/// <param name="Batch">Sequences.</param>
/// <param name="Tokens">Tokens of a run, of all sequences together.</param>
/// <param name="Past">Tokens before them, of each sequence.</param>
/// <param name="Ms">Median time of a run in milliseconds.</param>
/// <param name="TokensPerSecond">Tokens over that time.</param>
/// <param name="Ratio">Median over the rounds of the first model's time / this one's.</param>
/// <param name="Agreement">Share of positions with the first model's top token.</param>
internal sealed record CudaModelRow(string Model, string Phase, int Batch, int Tokens, int Past, double Ms, double TokensPerSecond, double Ratio, double Agreement);

/// <summary>What a model took to load.</summary>
/// <param name="Model">Its name.</param>
/// <param name="LoadSeconds">Time to make the session.</param>
/// <param name="DeviceMib">Device memory that was taken by then; 0 where that cannot be told.</param>
internal sealed record CudaModelLoad(string Model, double LoadSeconds, double DeviceMib);

/// <summary>Whole models on the GPU, all loaded at once: each phase is checked, then timed with the models taking turns.</summary>
internal static class CudaModelBench
{
    /// <summary>Measures everything.</summary>
    /// <exception cref="BenchException">A model cannot be used, has logits that are not finite, or agrees with no other.</exception>
    public static (IReadOnlyList<CudaModelLoad> Loads, IReadOnlyList<CudaModelRow> Rows) Run(CudaModelOptions options, Action<string> progress)
    {
        var (loads, rows) = (new List<CudaModelLoad>(), new List<CudaModelRow>());
        using var host = new CudaHost(options.Cuda, options.Graphs);
        var models = new List<(string Name, CudaModelSession Session)>();
        try
        {
            foreach (var (name, path, config) in Contestants(options))
            {
                progress($"loading {name}");
                var (before, start) = (Gpu.UsedBytes(), Stopwatch.GetTimestamp());
                models.Add((name, new CudaModelSession(host, path, config)));
                loads.Add(new(name, Stopwatch.GetElapsedTime(start).TotalSeconds, (Gpu.UsedBytes() - before) / 1048576.0));
            }

            if (models.Select(m => m.Session.Vocabulary).Distinct().Count() > 1) throw new BenchException("the models' vocabularies differ");
            if (options.Prefill > 0) rows.AddRange(Phase(host, models, options, "prefill", 1, options.Prefill, 0, progress));
            foreach (var batch in options.Batches) rows.AddRange(Phase(host, models, options, "decode", batch, 1, options.Past, progress));
            return (loads, rows);
        }
        finally
        {
            models.ForEach(m => m.Session.Dispose());
        }
    }

    private static IEnumerable<(string Name, string Path, IReadOnlyDictionary<string, string> Config)> Contestants(CudaModelOptions options)
    {
        foreach (var path in options.Models)
        {
            var name = Path.GetFileName(Path.GetDirectoryName(Path.GetFullPath(path)))!;
            yield return (name, path, new Dictionary<string, string>());
            if (options.FpAIntB && ModelFile.Load(path).Proto.Graph.Node.Any(n => n.OpType == "MatMulNBits"))
                yield return ($"{name} fpA_intB", path, new Dictionary<string, string> { [CudaOperator.FpAIntB] = "1" });
        }
    }

    private static List<CudaModelRow> Phase(
        CudaHost host, List<(string Name, CudaModelSession Session)> models, CudaModelOptions options, string phase, int batch, int tokens, int past, Action<string> progress)
    {
        progress($"{phase}, batch {batch}: checking");
        var caches = new List<CudaCaches>();
        var runs = new List<CudaModelRun>();
        var vocabulary = models[0].Session.Vocabulary;
        var ids = ModelProbe.Tokens(vocabulary, batch * (past + tokens));
        using var logits = host.Tensor(TensorElementType.Float16, batch, tokens, vocabulary);
        try
        {
            foreach (var (_, session) in models) caches.Add(session.Caches(batch, past + tokens));
            if (past > 0) Fill(host, models, caches, ids[..(batch * past)]);
            var tops = new List<int[]>();
            for (var i = 0; i < models.Count; i++)
            {
                runs.Add(models[i].Session.Bind(caches[i], past, ids[(batch * past)..], logits, graph: (phase == "decode" ? 1 : 0) + (2 * batch)));
                runs[i].Run();
                tops.Add(CudaModelSession.TopTokens(host, logits, $"{models[i].Name}, {phase}"));
            }

            for (var i = 0; i < models.Count; i++)
            {
                var best = tops.Where((_, j) => j != i).Select(t => ModelProbe.Agreement(t, tops[i])).DefaultIfEmpty(1).Max();
                if (best < options.MinAgreement) throw new BenchException(Text.F($"{models[i].Name}, {phase}: at most {best:P0} of its top tokens are those of another model; not timed"));
            }

            var budget = TimeSpan.FromSeconds(options.SecondsPerModel * runs.Count);
            var times = PairedTimer.Measure([.. runs.Select(r => (Action)r.Run)], budget, budget / 4, 2, options.Turn);
            return [.. models.Select((m, i) =>
            {
                var seconds = PairedTimer.Median(times[i]);
                progress(Text.F($"{phase}, batch {batch}: {m.Name} {seconds * 1e3:F2} ms"));
                return new CudaModelRow(
                    m.Name, phase, batch, batch * tokens, past, seconds * 1e3, batch * tokens / seconds, PairedTimer.MedianRatio(times[0], times[i]), ModelProbe.Agreement(tops[0], tops[i]));
            })];
        }
        finally
        {
            runs.ForEach(r => r.Dispose());
            caches.ForEach(c => c.Dispose());
        }
    }

    /// <summary>Puts the past into every model's caches.</summary>
    private static void Fill(CudaHost host, List<(string Name, CudaModelSession Session)> models, List<CudaCaches> caches, long[] ids)
    {
        using var logits = host.Tensor(TensorElementType.Float16, caches[0].Batch, ids.Length / caches[0].Batch, models[0].Session.Vocabulary);
        for (var i = 0; i < models.Count; i++)
        {
            using var prompt = models[i].Session.Bind(caches[i], 0, ids, logits, graph: 0);
            prompt.Run();
        }
    }
}
