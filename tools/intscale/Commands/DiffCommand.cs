using System.CommandLine;
using System.Globalization;

namespace Onnx.IntScale.Tool;

/// <summary><c>intscale diff REFERENCE CONVERTED</c>.</summary>
internal static class DiffCommand
{
    /// <summary>Tokens that are used where none are given: this file beside the reference.</summary>
    public const string DefaultTokens = "eval_tokens.npy";

    public static Command Create()
    {
        var reference = new Argument<string>("REFERENCE") { Description = "FP16 model: .onnx file, or a folder with model.onnx." };
        var converted = new Argument<string>("CONVERTED") { Description = "Model made from it." };
        var tokens = new Option<string?>("--tokens") { Description = $"Token ids made with the models' tokenizer: .npy, int32 or int64. Default: {DefaultTokens} beside REFERENCE." };
        var windows = Cli.OptionalNumber<int>("--windows", "Windows to run, from the start of the file. Default: all that fit.");
        var window = Cli.Number("--window", "Tokens of a window; each runs from an empty cache.", 512);
        var layers = Cli.Number("--layers", "Windows that also measure every rewritten layer; 0 for none.", 4);
        var threads = Cli.Number("--threads", "Threads; 0 for one per core.", 0);
        var maxKl = Cli.OptionalNumber<double>("--max-kl", "Exit with 1 when the mean KL divergence (nats) is above this.");
        var minTop1 = Cli.OptionalNumber<double>("--min-top1", "Exit with 1 when the share of equal top tokens (0 to 1) is below this.");
        var json = Cli.Json();
        var command = new Command("diff", """
            Runs an FP16 model and its converted form on the same tokens and says how far they differ, in all and layer by layer.

            Examples:
              intscale diff models/classics-13m out/classics-13m-int4
              intscale diff llama out/llama --tokens book.npy --windows 32 --max-kl 0.1 --min-top1 0.8
              intscale diff llama out/llama --tokens book.npy --json > diff.json
            """)
        {
            reference, converted, tokens, windows, window, layers, threads, maxKl, minTop1, json,
        };
        command.SetAction((parsed, cancel) => Task.Run(() =>
        {
            var path = parsed.GetValue(reference)!;
            var options = new DiffOptions(parsed.GetValue(tokens) ?? TokensBeside(path))
            {
                Windows = parsed.GetValue(windows),
                WindowLength = parsed.GetValue(window),
                LayerWindows = parsed.GetValue(layers),
                Threads = parsed.GetValue(threads),
            };
            if (parsed.GetValue(maxKl) is double.NaN or < 0) throw new ModelException("--max-kl", "must be 0 or more");
            if (parsed.GetValue(minTop1) is double.NaN or < 0 or > 1) throw new ModelException("--min-top1", "is a share, from 0 to 1");
            var report = ProgressLine.Run("comparing", report =>
                ModelDiff.Run(path, parsed.GetValue(converted)!, options, new Forward<DiffProgress>(p => report(Step(p), p.Window / (double)p.Windows)), cancel));
            if (parsed.GetValue(json)) Console.Out.WriteLine(report.ToJson());
            else PrintText(report);
            foreach (var layer in report.Layers.Where(l => l.Note != null)) Console.Error.WriteLine($"note: {layer.Name} was not measured: {layer.Note}");
            return Judge(report, parsed.GetValue(maxKl), parsed.GetValue(minTop1));
        }, CancellationToken.None));
        return command;
    }

    private static string TokensBeside(string reference)
    {
        var file = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(ModelFile.Resolve(reference)))!, DefaultTokens);
        return File.Exists(file)
            ? file
            : throw new ModelException(
                "--tokens", $"is not given, and there is no {DefaultTokens} beside {reference}",
                $"give --tokens FILE.npy, or make one: {Invocation.Of("sample", reference, file)}");
    }

    private static int Judge(DiffReport report, double? maxKl, double? minTop1)
    {
        var kl = report.Kl.Mean > maxKl;
        var top1 = report.Top1Agreement < minTop1;
        if (kl) Console.Error.WriteLine(F($"failed: mean KL divergence {report.Kl.Mean:G5} is above --max-kl {maxKl}"));
        if (top1) Console.Error.WriteLine(F($"failed: top-1 agreement {report.Top1Agreement:G5} is below --min-top1 {minTop1}"));
        return kl || top1 ? Cli.Refused : Cli.Done;
    }

    private static string Step(DiffProgress p) => p.Step ?? F($"{p.Window}/{p.Windows}: ppl {p.ReferencePerplexity:F2} -> {p.ConvertedPerplexity:F2}, KL {p.MeanKl:F4}");

    private static void PrintText(DiffReport r)
    {
        if (r.Layers.Count > 0)
        {
            var layers = Cli.Table("layer", "local SQNR", "accumulated SQNR", "local error", "accumulated error");
            foreach (var l in r.Layers) layers.AddPlainRow(l.Name, Decibel(l.LocalSqnrDb), Decibel(l.AccumulatedSqnrDb), Percent(l.LocalRelativeError), Percent(l.AccumulatedRelativeError));
            Cli.Print(layers);
            Console.WriteLine("local: the layer fed the reference's activations; accumulated: as the converted model runs.");
            if (r.WorstLocal is { } local) Console.WriteLine($"worst local SQNR: {local.Name}, {Decibel(local.LocalSqnrDb)}");
            if (r.WorstAccumulated is { } sum) Console.WriteLine($"worst accumulated SQNR: {sum.Name}, {Decibel(sum.AccumulatedSqnrDb)}");
            Console.WriteLine();
        }

        var table = Cli.Table("metric", "value");
        table.AddPlainRow("perplexity, reference", F($"{r.Reference.Perplexity:F3}"));
        table.AddPlainRow("perplexity, converted", F($"{r.Converted.Perplexity:F3}"));
        table.AddPlainRow("perplexity ratio", F($"{r.PerplexityRatio:F4}"));
        table.AddPlainRow("KL from the reference, mean", F($"{r.Kl.Mean:G4}"));
        table.AddPlainRow("KL from the reference, median", F($"{r.Kl.Median:G4}"));
        table.AddPlainRow("KL from the reference, 99 %", F($"{r.Kl.P99:G4}"));
        table.AddPlainRow("KL from the reference, max", F($"{r.Kl.Max:G4}"));
        table.AddPlainRow("top-1 agreement", F($"{100 * r.Top1Agreement:F2} %"));
        table.AddPlainRow("logits, max error", F($"{r.Logits.MaxAbsError:G4}"));
        table.AddPlainRow("logits, mean error", F($"{r.Logits.MeanAbsError:G4}"));
        table.AddPlainRow("logits, cosine", F($"{r.Logits.Cosine:F6}"));
        Cli.Print(table);
        Console.WriteLine($"{r.Tokens} tokens in {r.Windows} windows of {r.WindowLength}; reference {r.Reference.Path}, converted {r.Converted.Path}");
    }

    private static string Decibel(double? value) => value switch
    {
        null => "-",
        >= LayerDiff.MaxSqnrDb => "exact",
        _ => F($"{value:F1} dB"),
    };

    private static string Percent(double? value) => value == null ? "-" : F($"{100 * value:F2} %");

    private static string F(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

/// <summary>Reports at once, on the reporting thread.</summary>
internal sealed class Forward<T>(Action<T> action) : IProgress<T>
{
    public void Report(T value) => action(value);
}
