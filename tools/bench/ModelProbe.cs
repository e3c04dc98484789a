using System.Diagnostics;
using System.Reflection;
using System.Text.Json;

namespace Onnx.IntScale.Bench;

/// <summary>What a model needs and computes, found in a process of its own, so that no other model's memory is counted.</summary>
/// <param name="Vocabulary">Tokens of the vocabulary.</param>
/// <param name="LoadSeconds">Time to make the session.</param>
/// <param name="Loaded">Memory once it is loaded.</param>
/// <param name="After">Memory after prefill and decoding, a first and a second time.</param>
/// <param name="TopTokens">Most likely token after each token, prefill and decoding.</param>
/// <param name="CacheAgreement">Share of the decoded tokens after which a single run of all tokens has the same most likely token.</param>
internal sealed record ModelProbe(int Vocabulary, double LoadSeconds, ProcessMemory Loaded, ProcessMemory After, int[] TopTokens, double CacheAgreement)
{
    /// <summary>The hidden command that probes.</summary>
    public const string Command = "probe-model";

    /// <summary>Probes in this process.</summary>
    public static ModelProbe Measure(string path, int prefill, int decode, int threads)
    {
        using var host = new OrtHost(threads);
        var start = Stopwatch.GetTimestamp();
        using var session = new ModelSession(host, path, prefill + decode);
        var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        var loaded = ProcessMemory.Now();
        var tokens = Tokens(session.Vocabulary, prefill + decode);
        int[] tops = [];
        for (var i = 0; i < 2; i++)
        {
            session.Clear();
            session.Run(tokens.AsMemory(0, prefill));
            tops = session.TopTokens();
            for (var t = prefill; t < tokens.Length; t++)
            {
                session.Run(tokens.AsMemory(t, 1));
                tops = [.. tops, .. session.TopTokens()];
            }
        }

        var after = ProcessMemory.Now();
        session.Clear();
        session.Run(tokens);
        var whole = session.TopTokens();
        return new(session.Vocabulary, seconds, loaded, after, tops, Agreement(whole[prefill..], tops[prefill..]));
    }

    /// <summary>Probes in a new process.</summary>
    /// <exception cref="BenchException">It failed; what it said is told.</exception>
    public static ModelProbe InOwnProcess(string path, int prefill, int decode, int threads)
    {
        var self = Environment.ProcessPath!;
        var start = new ProcessStartInfo(self) { RedirectStandardOutput = true, RedirectStandardError = true };
        if (Path.GetFileNameWithoutExtension(self) == "dotnet") start.ArgumentList.Add(Assembly.GetExecutingAssembly().Location);
        foreach (var argument in new[] { Command, path, $"{prefill}", $"{decode}", $"{threads}" }) start.ArgumentList.Add(argument);
        using var child = Process.Start(start)!;
        var errors = child.StandardError.ReadToEndAsync();
        var output = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        return child.ExitCode == 0
            ? JsonSerializer.Deserialize<ModelProbe>(output)!
            : throw new BenchException(errors.Result.Trim() is { Length: > 0 } said ? said.Replace("error: ", "") : $"{path}: its process ended with {child.ExitCode} (killed for memory?)");
    }

    /// <summary>Seeded random tokens.</summary>
    public static long[] Tokens(int vocabulary, int count)
    {
        var random = new Random(1);
        return [.. Enumerable.Range(0, count).Select(_ => random.NextInt64(vocabulary))];
    }

    /// <summary>Share of equal entries.</summary>
    public static double Agreement(int[] a, int[] b) => a.Zip(b).Count(p => p.First == p.Second) / (double)a.Length;
}
