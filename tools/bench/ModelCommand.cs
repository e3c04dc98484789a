using System.CommandLine;
using System.Text.Json;

namespace Onnx.IntScale.Bench;

/// <summary><c>bench model</c>.</summary>
internal static class ModelCommand
{
    public static Command Create()
    {
        var models = new Option<string>("--models") { Description = "Models (.onnx files or folders), with commas between; ratios refer to the first.", Required = true };
        var prefill = new Option<int>("--prefill") { Description = "Tokens of the first run.", DefaultValueFactory = _ => 512 };
        var decode = new Option<int>("--decode") { Description = "Runs of one token after it.", DefaultValueFactory = _ => 32 };
        var threads = new Option<int>("--threads") { Description = "Threads of ONNX Runtime's intra-op pool, the caller included.", DefaultValueFactory = _ => 2 };
        var rounds = new Option<int>("--rounds") { Description = "Rounds; in each, every model has its turn.", DefaultValueFactory = _ => 5 };
        var patience = new Option<double>("--patience") { Description = "Seconds to go on with more rounds where other processes use the machine too; the quietest count." };
        var agreement = new Option<double>("--min-agreement") { Description = "Share of positions at which each model must have the same top token as one of the others.", DefaultValueFactory = _ => 0.5 };
        var json = new Option<bool>("--json") { Description = "Machine-readable result on stdout; progress stays on stderr." };
        var command = new Command("model", """
            Times whole language models on the CPU: a prefill, then decoding with the cache in place, in tokens a second, and their memory.
            Tokens are random and given, so choosing the next one is not part of the time. A model whose logits are not finite is not timed.

            Examples:
              bench model --models /tmp/1b-nbits,/tmp/1b-int4,/tmp/1b --prefill 512 --decode 32 --threads 2
              bench model --models /tmp/classics-nbits,out/classics-13m-int4,models/classics-13m --rounds 20 --json
            """)
        {
            models, prefill, decode, threads, rounds, patience, agreement, json,
        };
        command.SetAction(parsed =>
        {
            var options = new ModelBenchOptions(
                [.. parsed.GetValue(models)!.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(ModelFile.Resolve)],
                parsed.GetValue(prefill), parsed.GetValue(decode), parsed.GetValue(threads), parsed.GetValue(rounds),
                TimeSpan.FromSeconds(parsed.GetValue(patience)), parsed.GetValue(agreement));
            if (options.Models.Count == 0) throw new BenchException("--models is empty");
            if (options.Prefill < 1 || options.Decode < 1 || options.Threads < 1 || options.Rounds < 1)
                throw new BenchException("--prefill, --decode, --threads and --rounds must be positive");
            var result = ModelBench.Run(options, Console.Error.WriteLine);
            var typed = $"bench {string.Join(' ', parsed.Tokens.Select(t => t.Value))}";
            Console.WriteLine(parsed.GetValue(json) ? ModelReport.Json(Machine.Describe(), typed, options, result) : ModelReport.Markdown(Machine.Describe(), typed, options, result));
            return 0;
        });
        return command;
    }

    /// <summary>What <c>bench model</c> runs for each model in a process of its own.</summary>
    public static Command CreateProbe()
    {
        var model = new Argument<string>("MODEL");
        var (prefill, decode, threads) = (new Argument<int>("PREFILL"), new Argument<int>("DECODE"), new Argument<int>("THREADS"));
        var command = new Command(ModelProbe.Command) { model, prefill, decode, threads };
        command.Hidden = true;
        command.SetAction(parsed =>
        {
            Console.WriteLine(JsonSerializer.Serialize(
                ModelProbe.Measure(parsed.GetValue(model)!, parsed.GetValue(prefill), parsed.GetValue(decode), parsed.GetValue(threads))));
            return 0;
        });
        return command;
    }
}
