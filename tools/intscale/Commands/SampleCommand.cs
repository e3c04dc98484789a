using System.CommandLine;

namespace Onnx.IntScale.Tool;

/// <summary><c>intscale sample MODEL OUT.npy</c>.</summary>
internal static class SampleCommand
{
    public static Command Create()
    {
        var defaults = new SampleOptions();
        var model = new Argument<string>("MODEL") { Description = "FP16 model: .onnx file, or a folder with model.onnx." };
        var output = new Argument<string>("OUT") { Description = "The .npy file to write: int32 token ids." };
        var count = Cli.Number("--count", "Tokens to draw.", defaults.Count);
        var window = Cli.Number("--window", "Tokens after which the model starts again from an empty cache, as diff does.", defaults.WindowLength);
        var seed = Cli.Number("--seed", "The same seed gives the same tokens on the same machine.", defaults.Seed);
        var temperature = Cli.Number("--temperature", "Divides the logits; 1 draws from the model's own distribution.", defaults.Temperature);
        var topK = Cli.Number("--top-k", "Draw only among so many most likely tokens; 0 for all.", defaults.TopK);
        var threads = Cli.Number("--threads", "Threads; 0 for one per core.", defaults.Threads);
        var force = new Option<bool>("--force") { Description = "Replace an existing file." };
        var json = Cli.Json();
        var command = new Command("sample", """
            Draws tokens for diff from a model itself, for models that come without an evaluation text.

            Example:
              intscale sample llama llama/eval_tokens.npy --count 8192 --seed 1
            """)
        {
            model, output, count, window, seed, temperature, topK, threads, force, json,
        };
        command.SetAction((parsed, cancel) => Task.Run(() =>
        {
            var options = new SampleOptions
            {
                Count = parsed.GetValue(count),
                WindowLength = parsed.GetValue(window),
                Seed = parsed.GetValue(seed),
                Temperature = parsed.GetValue(temperature),
                TopK = parsed.GetValue(topK),
                Threads = parsed.GetValue(threads),
            };
            var path = parsed.GetValue(output)!;
            CheckOutput(path, parsed.GetValue(force));
            var tokens = ProgressLine.Run("sampling", report =>
                TokenSampler.Sample(parsed.GetValue(model)!, options, new Forward<int>(done => report($"{done}/{options.Count} tokens", done / (double)options.Count)), cancel));
            NpyFile.WriteTokens(path, tokens);
            if (parsed.GetValue(json)) Cli.WriteJson(new { model = parsed.GetValue(model), output = path, tokens = tokens.Length, window_length = options.WindowLength, options.Seed });
            else Console.WriteLine($"{tokens.Length} tokens in windows of {options.WindowLength}, seed {options.Seed}, written: {path}");
            return Cli.Done;
        }, CancellationToken.None));
        return command;
    }

    /// <summary>Before minutes of work, not after.</summary>
    private static void CheckOutput(string path, bool force)
    {
        if (!force && File.Exists(path)) throw new ModelException(path, "exists already", "give another file, or --force to replace it");
        if (Directory.Exists(path)) throw new ModelException(path, "is a folder", "give a .npy file");
        if (!Directory.Exists(Path.GetDirectoryName(Path.GetFullPath(path))))
            throw new ModelException(path, "its folder does not exist", "make the folder first");
    }
}
