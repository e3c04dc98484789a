using System.CommandLine;
using System.Globalization;

namespace Onnx.IntScale.Tool;

/// <summary><c>intscale convert MODEL OUT</c>.</summary>
internal static class ConvertCommand
{
    public static Command Create()
    {
        var model = new Argument<string>("MODEL") { Description = "FP16 (or bfloat16, float) .onnx file, or a folder with model.onnx; with a folder the files beside it are copied along." };
        var output = new Argument<string>("OUT") { Description = "Folder (or .onnx file) to write; it appears complete or not at all." };
        var bits = Cli.Number("--bits", "Bits of a weight: 4 or 8.", 4);
        var block = Cli.Number("--block-size", "Weights that share a scale: 16, 32, 64, 128 or 256.", 128);
        var method = new Option<string>("--method") { Description = "mse: per block the clip of least weight error; rtn: round to nearest.", DefaultValueFactory = _ => "mse" };
        method.AcceptOnlyFromAmong("mse", "rtn");
        var amplifier = new Option<string>("--amplifier") { Description = "auto: per channel, the largest certified, or the one of least error where --largest-scale is 127 or less; an integer such as 1024: one for all; paper: the paper's heuristic.", DefaultValueFactory = _ => "auto" };
        var limit = Cli.OptionalNumber<long>("--max-accumulator", "Limit of the overflow certificate, at most 2147483647. Default: 134217727 for 4 bits, which leaves GPU kernels four bits; 2147483647 for 8.");
        var largest = Cli.Number("--largest-scale", "Largest integer scale, at most 32767. 15: codes times their scale fit int8, and prefill on Hopper is faster, for some accuracy.", (int)short.MaxValue);
        var include = new Option<string[]>("--include") { Description = "Rewrite only nodes whose name matches this glob (* and ?); may be repeated.", DefaultValueFactory = _ => [] };
        var exclude = new Option<string[]>("--exclude") { Description = "Leave nodes whose name matches this glob alone; may be repeated.", DefaultValueFactory = _ => [] };
        var dryRun = new Option<bool>("--dry-run") { Description = "Print what would be rewritten and write nothing." };
        var force = new Option<bool>("--force") { Description = "Replace an existing output." };
        var json = Cli.Json();
        var command = new Command("convert", """
            Rewrites the linear layers of a model as integer-scale int4 nodes and proves that none can overflow int32.

            Examples:
              intscale convert models/classics-13m out/classics-13m-int4
              intscale convert llama.onnx out/llama --block-size 64 --exclude "/lm_head/*"
              intscale convert llama.onnx out/llama --dry-run
            """)
        {
            model, output, bits, block, method, amplifier, limit, largest, include, exclude, dryRun, force, json,
        };
        command.SetAction((parsed, cancel) => Task.Run(() =>
        {
            var options = new ConvertOptions
            {
                Quantize = new QuantizeOptions
                {
                    Bits = parsed.GetValue(bits),
                    BlockSize = parsed.GetValue(block),
                    Method = parsed.GetValue(method) == "rtn" ? ScaleMethod.Rtn : ScaleMethod.Mse,
                    Amplifier = ParseAmplifier(parsed.GetValue(amplifier)!),
                    MaxAccumulator = parsed.GetValue(limit),
                    LargestScale = parsed.GetValue(largest),
                },
                Include = parsed.GetValue(include)!,
                Exclude = parsed.GetValue(exclude)!,
                Force = parsed.GetValue(force),
            };
            if (options.Quantize.Fault() is { } fault) throw new ModelException("convert", fault);
            return parsed.GetValue(dryRun)
                ? Plan(parsed.GetValue(model)!, options, parsed.GetValue(json))
                : Convert(parsed.GetValue(model)!, parsed.GetValue(output)!, options, parsed.GetValue(json), cancel);
        }, CancellationToken.None));
        return command;
    }

    private static Amplifier ParseAmplifier(string text)
    {
        try
        {
            return Amplifier.Parse(text);
        }
        catch (ArgumentException e)
        {
            throw new ModelException("--amplifier", e.Message);
        }
    }

    private static int Plan(string model, ConvertOptions options, bool json)
    {
        var found = Converter.Plan(model, options);
        if (json)
        {
            Cli.WriteJson(new { layers = found.Layers.Select(l => new { l.Name, l.K, l.N, bits = options.Quantize.Bits, block_size = options.Quantize.BlockSize, bytes_before = l.BytesBefore(), bytes_after = l.BytesAfter(options.Quantize) }), found.Skipped });
        }
        else
        {
            var table = Cli.Table("would rewrite", "K x N", "before", "after");
            foreach (var l in found.Layers) table.AddPlainRow(l.Name, $"{l.K} x {l.N}", Cli.Bytes(l.BytesBefore()), Cli.Bytes(l.BytesAfter(options.Quantize)));
            Cli.Print(table);
            PrintSkipped(found.Skipped);
            Console.WriteLine($"{found.Layers.Count} layers would be rewritten, {found.Skipped.Count} matrix products left alone; nothing was written.");
        }

        return found.Layers.Count > 0 ? Cli.Done : Nothing(model);
    }

    private static int Convert(string model, string output, ConvertOptions options, bool json, CancellationToken cancel)
    {
        var report = ProgressLine.Run("converting", report =>
            Converter.Convert(model, output, options, new Forward<ConversionProgress>(p => report(p.Step, p.Total == 0 ? 1 : p.Done / (double)p.Total)), cancel));
        try
        {
            if (json) PrintJson(report);
            else PrintText(report);
        }
        catch (IOException e)
        {
            throw new ModelException("standard output", $"the report cannot be printed ({e.Message.TrimEnd('.')})", report.Layers.Count > 0 ? $"the model is complete: {report.Output}" : "nothing was written", e);
        }

        return report.Layers.Count > 0 ? Cli.Done : Nothing(model);
    }

    private static int Nothing(string model)
    {
        Console.Error.WriteLine($"{model}: nothing to rewrite: no MatMul with a constant float weight is left after --include and --exclude; nothing was written.");
        return Cli.Refused;
    }

    private static void PrintJson(ConversionReport r) => Cli.WriteJson(new
    {
        r.Input,
        r.Output,
        r.BytesBefore,
        r.BytesAfter,
        r.Companions,
        layers = r.Layers,
        r.Skipped,
    });

    private static void PrintText(ConversionReport r)
    {
        if (r.Layers.Count > 0)
        {
            var table = Cli.Table("layer", "K x N", "before", "after", "weight error", "amplifier", "max_accumulator", "headroom");
            foreach (var l in r.Layers)
            {
                table.AddPlainRow(
                    l.Name,
                    $"{l.K} x {l.N}",
                    Cli.Bytes(l.BytesBefore),
                    l.SharedWith == null ? Cli.Bytes(l.BytesAfter) : "shared",
                    F($"{100 * l.WeightError:F2} %"),
                    AmplifierRange(l),
                    F($"{l.MaxAccumulator}"),
                    F($"{l.HeadroomBits:F1} bits"));
            }

            Cli.Print(table);
        }

        PrintSkipped(r.Skipped);
        foreach (var l in r.Layers.Where(l => l.LoweredChannels > 0))
            Console.WriteLine($"note: {l.Name}: the amplifier of {l.LoweredChannels} of {l.N} channels was lowered to pass the accumulator limit or the largest scale");
        if (r.Layers.Count == 0) return;
        Console.WriteLine($"{r.Layers.Count} layers rewritten, {r.Skipped.Count} matrix products left alone; {Cli.Bytes(r.BytesBefore)} -> {Cli.Bytes(r.BytesAfter)}"
            + F($" ({r.BytesBefore / (double)r.BytesAfter:F2}x smaller); every layer is certified: int32 cannot overflow."));
        if (r.Companions.Count > 0) Console.WriteLine($"Copied along: {string.Join(", ", r.Companions.Select(Path.GetFileName))}");
        Console.WriteLine($"Written: {r.Output}");
        var input = Path.GetDirectoryName(r.Input) ?? "";
        if (File.Exists(Path.Combine(input, DiffCommand.DefaultTokens)))
        {
            Console.WriteLine($"Next:    {Invocation.Of("diff", r.Input, r.Output)}");
            return;
        }

        var tokens = Path.Combine(Path.GetDirectoryName(r.Output) ?? "", DiffCommand.DefaultTokens);
        Console.WriteLine($"Next:    {Invocation.Of("sample", r.Input, tokens)}");
        Console.WriteLine($"Then:    {Invocation.Of("diff", r.Input, r.Output, "--tokens", tokens)}");
    }

    private static void PrintSkipped(IReadOnlyList<Skipped> skipped)
    {
        foreach (var group in skipped.GroupBy(s => s.Reason))
        {
            var names = group.Select(s => s.Name).ToList();
            var shown = string.Join(", ", names.Take(4)) + (names.Count > 4 ? $" and {names.Count - 4} more (all with --json)" : "");
            Console.WriteLine($"left alone: {shown}: {group.Key}");
        }
    }

    private static string AmplifierRange(LayerReport l) => l.Amplifier != 0 ? F($"{l.Amplifier}") : F($"{l.AmplifierMin:G4}..{l.AmplifierMax:G4}");

    private static string F(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private static long BytesBefore(this LinearLayer l) => (long)l.K * l.N * Elements.SizeOf(l.Type);

    private static long BytesAfter(this LinearLayer l, QuantizeOptions o)
    {
        var shape = new MatMulShape(l.K, l.N, o.Bits, o.BlockSize);
        return (long)l.N * (shape.RowBytes + (shape.KBlocks * sizeof(short)) + sizeof(float));
    }
}
