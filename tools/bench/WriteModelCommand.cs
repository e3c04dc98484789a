using System.CommandLine;

namespace Onnx.IntScale.Bench;

/// <summary><c>bench write-model</c>.</summary>
internal static class WriteModelCommand
{
    private static readonly Dictionary<string, WeightForm> Forms = new(StringComparer.Ordinal)
    {
        ["float"] = WeightForm.Float,
        ["matmulnbits4"] = WeightForm.MatMulNBits4,
        ["intscale4"] = WeightForm.IntScale4,
    };

    private static readonly Dictionary<string, ElementType> Types = new(StringComparer.Ordinal)
    {
        ["float16"] = ElementType.Float16,
        ["float32"] = ElementType.Float,
    };

    public static Command Create()
    {
        var names = string.Join(", ", LlamaShape.All.Select(s => s.Name));
        var shape = new Argument<string>("SHAPE") { Description = $"A model shape ({names}), or a model that intscale convert made, to write in MatMulNBits form." };
        var output = new Argument<string>("OUT") { Description = "Folder of the new model." };
        var weights = new Option<string>("--weights") { Description = $"How linear layers are kept: {string.Join(", ", Forms.Keys)}, fp16 (float, whatever the type of activations).", DefaultValueFactory = _ => "fp16" };
        var activations = new Option<string>("--activations") { Description = $"Type of activations and cache: {string.Join(", ", Types.Keys)}.", DefaultValueFactory = _ => "float16" };
        var randomCodes = new Option<bool>("--random-codes") { Description = "Draw codes and scales instead of quantizing normal weights: seconds instead of minutes, and every form, fp16 too, multiplies by the same weights." };
        var packed = new Option<bool>("--packed-qkv") { Description = "Query, key and value in one layer." };
        var largest = new Option<int>("--largest-scale") { Description = "With --random-codes: largest integer scale; up to 15, codes times their scale fit int8.", DefaultValueFactory = _ => short.MaxValue };
        var seed = new Option<int>("--seed") { Description = "Seed of the weights, which are the same in every form.", DefaultValueFactory = _ => 1 };
        var force = new Option<bool>("--force") { Description = "Replace what is there." };
        var command = new Command("write-model", """
            Writes a Llama model with seeded random weights in the graph form of ONNX Runtime GenAI, or a converted model's MatMulNBits twin.
            4-bit weights have blocks of 128; matmulnbits4 has the same codes as intscale4 and accuracy_level 4.

            Examples:
              bench write-model llama-3.2-1b /tmp/1b
              bench write-model llama-3.2-1b /tmp/1b-nbits --weights matmulnbits4
              bench write-model llama-3-8b /tmp/8b-int4 --weights intscale4 --random-codes
              bench write-model out/classics-13m-int4 /tmp/classics-nbits --weights matmulnbits4
            """)
        {
            shape, output, weights, activations, randomCodes, packed, largest, seed, force,
        };
        command.SetAction(parsed =>
        {
            var form = Pick(Forms, "--weights", parsed.GetValue(weights) is "fp16" ? "float" : parsed.GetValue(weights)!);
            var type = Pick(Types, "--activations", parsed.GetValue(activations)!);
            var path = Path.Combine(parsed.GetValue(output)!, "model.onnx");
            var scale = CudaCommand.Largest(parsed.GetValue(largest));
            if (scale < short.MaxValue && !parsed.GetValue(randomCodes)) throw new BenchException("--largest-scale is of scales that are drawn: add --random-codes");
            var bytes = LlamaShape.All.FirstOrDefault(s => s.Name == parsed.GetValue(shape)) is { } llama
                ? LlamaModel.Write(path, llama, new LlamaOptions(form, type, parsed.GetValue(seed), parsed.GetValue(randomCodes), parsed.GetValue(packed), scale), parsed.GetValue(force), Console.Error.WriteLine)
                : Twin(parsed.GetValue(shape)!, names, form, path, parsed.GetValue(force));
            Console.WriteLine($"{path}: {bytes / 1e6:F1} MB");
            return 0;
        });
        return command;
    }

    private static long Twin(string from, string names, WeightForm form, string path, bool force)
    {
        if (!File.Exists(from) && !Directory.Exists(from)) throw new BenchException($"'{from}' is neither a shape ({names}) nor a model");
        if (form != WeightForm.MatMulNBits4) throw new BenchException("a model can only be written with --weights matmulnbits4");
        return NBitsModel.Write(ModelFile.Load(from), path, force, _ => { });
    }

    private static T Pick<T>(Dictionary<string, T> choices, string option, string name) =>
        choices.TryGetValue(name, out var value) ? value : throw new BenchException($"{option}: '{name}' is none of: {string.Join(", ", choices.Keys)}");
}
