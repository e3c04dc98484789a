using System.CommandLine;

namespace Onnx.IntScale.Bench;

/// <summary><c>bench cuda-check</c>.</summary>
internal static class CheckCommand
{
    private const int FaultsShown = 20;

    public static Command Create()
    {
        var seed = new Option<int>("--seed") { Description = "Seed of all numbers; 0 for another one each time." };
        var cases = new Option<int>("--cases") { Description = "Random cases, on top of those at the edges of tiles.", DefaultValueFactory = _ => 200 };
        var every = new Option<int>("--every") { Description = "Run only one case in so many, for tools that slow kernels down.", DefaultValueFactory = _ => 1 };
        var m = new Option<int>("--m") { Description = "Only cases of so many rows of A." };
        var scaled = new Option<bool>("--scaled") { Description = "Instead of those at the edges of tiles and random ones, --cases whose codes carry their scales (compute capability 9.0)." };
        var layers = new Option<bool>("--layers") { Description = "Also layers of language models, at the sizes that are timed." };
        var sessions = new Option<bool>("--sessions") { Description = "Also the operator inside ONNX Runtime, against the CPU's." };
        var replays = new Option<int>("--replays") { Description = "Also layers of language models in CUDA graphs, each replayed so often and every output compared." };
        var device = new Option<int>("--device") { Description = "Number of the GPU." };
        var kernel = new Option<string?>("--kernel") { Description = "The only family of matmul kernels to use." };
        var model = new Option<string?>("--model") { Description = "Instead of random calls, a converted language model: .onnx file or folder." };
        var tokens = new Option<string?>("--tokens") { Description = "With --model: token ids, .npy. Default: random ones." };
        var prompt = new Option<int>("--prompt") { Description = "With --model: tokens of the first run.", DefaultValueFactory = _ => 128 };
        var decode = new Option<int>("--decode") { Description = "With --model: tokens that follow, one a run.", DefaultValueFactory = _ => 8 };
        var minTop1 = new Option<double>("--min-top1") { Description = "With --model: least share of positions with the same top token as on the CPU; other operators' rounding moves int8 codes of activations, which costs small models some percent.", DefaultValueFactory = _ => 0.9 };
        var ep = new Option<string>("--ep") { Description = "With --model: cuda, or cpu to try the check itself.", DefaultValueFactory = _ => "cuda", Hidden = true };
        var command = new Command("cuda-check", """
            Runs the CUDA kernels on random calls and compares every bit with the scalar specification; ends with 1 where one differs.
            With --model, runs a model on CUDA, on CUDA with only this operator on the CPU, and on the CPU: each node of the operator must give
            the specification's bits for the activations that it got, and the top tokens must be the same.

            Examples:
              bench cuda-check --seed 7 --cases 500 --layers --sessions --replays 20
              bench cuda-check --model out/classics-13m-int4 --tokens models/classics-13m/eval_tokens.npy --prompt 512
              compute-sanitizer bench cuda-check --every 10
            """)
        {
            seed, cases, every, m, scaled, layers, sessions, replays, device, kernel, model, tokens, prompt, decode, minTop1, ep,
        };
        command.SetAction(parsed =>
        {
            // First of all: the variable is read once.
            if (parsed.GetValue(kernel) is { } only) Environment.SetEnvironmentVariable(CudaKernels.Variable, only);
            var start = parsed.GetValue(seed) != 0 ? parsed.GetValue(seed) : Random.Shared.Next(1, int.MaxValue);
            try
            {
                if (parsed.GetValue(model) is { } path)
                {
                    return RunModel(new(
                        path, parsed.GetValue(tokens), parsed.GetValue(prompt), parsed.GetValue(decode), start, parsed.GetValue(minTop1), parsed.GetValue(device),
                        CudaCommand.IsCuda(parsed.GetValue(ep)!)));
                }

                return Run(start, parsed.GetValue(cases), Math.Max(1, parsed.GetValue(every)), parsed.GetValue(m), parsed.GetValue(scaled), parsed.GetValue(layers), parsed.GetValue(sessions), parsed.GetValue(replays), parsed.GetValue(device));
            }
            catch (CudaException e)
            {
                throw new BenchException(e.Message);
            }
        });
        return command;
    }

    private static int RunModel(ModelCheckOptions options)
    {
        if (options.Prompt < 1 || options.Decode < 0) throw new BenchException("--prompt must be positive, --decode not negative");
        var report = ModelCheck.Run(options, Console.Error.WriteLine);
        if (options.Tokens == null) Console.WriteLine($"random tokens, seed {options.Seed}");
        foreach (var line in report.Lines()) Console.WriteLine(line);
        return report.Passed ? 0 : 1;
    }

    private static int Run(int seed, int random, int every, int m, bool scaled, bool layers, bool sessions, int replays, int device)
    {
        using var check = new KernelCheck(device);
        Console.WriteLine($"{check.Device}, seed {seed}");
        IEnumerable<CheckCase> drawn = scaled ? CheckCase.Scaled(seed, random) : [.. CheckCase.Edges(seed), .. CheckCase.Random(seed, random), .. CheckCase.Scaled(seed, random / 4)];
        IEnumerable<CheckCase> all = [.. drawn, .. layers ? CheckCase.Layers(seed) : []];
        var cases = all.Where(c => m == 0 || c.M == m).Where((_, i) => i % every == 0).ToList();
        if (cases.Count == 0) throw new BenchException(m == 0 ? $"--scaled --cases {random}: no case; ask for at least one" : $"--m {m}: no case has so many rows of A; take one of the edges of tiles, such as 17 or 128, or more --cases");
        var (done, wrong) = (0, 0);
        var kernels = new SortedDictionary<string, int>(StringComparer.Ordinal);
        foreach (var c in cases)
        {
            var (names, fault) = Outcome(check, c);
            kernels[names] = kernels.GetValueOrDefault(names) + 1;
            Count($"{names}: {c}", fault);
        }

        if (sessions)
        {
            foreach (var (name, fault) in SessionCheck.Run(seed)) Count(name, fault);
        }

        if (replays > 0)
        {
            using var replay = new ReplayCheck(device);
            foreach (var (name, fault) in replay.Run(seed, replays)) Count(name, fault);
        }

        foreach (var line in Text.Table(["kernels", "cases"], kernels.Select(k => new[] { k.Key, $"{k.Value}" }))) Console.WriteLine(line);
        Console.WriteLine($"{done} cases, {wrong} mismatches");
        return wrong == 0 ? 0 : 1;

        void Count(string name, string? fault)
        {
            if (++done % 100 == 0) Console.Error.WriteLine($"{done} cases, {wrong} mismatches");
            if (fault != null && wrong++ < FaultsShown) Console.WriteLine($"{name}: {fault}");
        }
    }

    /// <summary>A kernel that fails leaves the device unusable, so the case is named.</summary>
    private static CheckOutcome Outcome(KernelCheck check, CheckCase c)
    {
        try
        {
            return check.Run(c);
        }
        catch (CudaException e)
        {
            throw new BenchException($"{c}: {e.Message}");
        }
    }
}
