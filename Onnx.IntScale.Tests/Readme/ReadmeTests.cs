namespace Onnx.IntScale.Tests;

/// <summary>Tests that change the process' folder or console run while no other does.</summary>
[CollectionDefinition(nameof(AloneCollection), DisableParallelization = true)]
public sealed class AloneCollection;

/// <summary>What the README shows is what happens.</summary>
[Collection(nameof(AloneCollection))]
public sealed class ReadmeTests
{
    private static readonly string Readme = File.ReadAllText(Repo.At("README.md"));

    [Fact]
    public void Snippet_IsTheCompiledOne()
    {
        var source = File.ReadAllLines(Repo.At("Onnx.IntScale.Tests/Readme/ReadmeSnippet.cs")).Select(l => l.Length > 8 ? l[8..] : "").ToList();
        var lines = source[(source.IndexOf("// README begin") + 1)..source.IndexOf("// README end")];
        Assert.Contains(string.Join('\n', lines), Readme, StringComparison.Ordinal);
    }

    [Fact]
    public void Snippet_Runs()
    {
        using var folder = new TempFolder();
        var (directory, output) = (Directory.GetCurrentDirectory(), Console.Out);
        using var written = new StringWriter();
        try
        {
            Directory.CreateDirectory(folder["models"]);
            Directory.CreateSymbolicLink(folder["models/classics-13m"], Repo.At("models/classics-13m"));
            Directory.SetCurrentDirectory(folder.Path);
            Console.SetOut(written);
            ReadmeSnippet.Run();
        }
        finally
        {
            Console.SetOut(output);
            Directory.SetCurrentDirectory(directory);
        }

        Assert.Contains("43 layers", written.ToString(), StringComparison.Ordinal);
        Assert.Contains("perplexity", written.ToString(), StringComparison.Ordinal);
    }

    /// <summary>Every line of the convert output that the README shows, "…" lines aside, is one that the command prints.</summary>
    [Fact]
    public void ConvertOutput_IsWhatTheCommandPrints()
    {
        using var folder = new TempFolder();
        var run = CliTests.Run("convert", "models/classics-13m", folder["out"]);
        Assert.Equal(0, run.Code);
        var printed = run.Out.Replace(folder["out"], "out/classics-13m-int4", StringComparison.Ordinal).Split('\n').Select(l => l.TrimEnd()).ToHashSet();
        const string Command = "tools/intscale -- convert models/classics-13m out/classics-13m-int4\n";
        var shown = Readme[(Readme.IndexOf(Command, StringComparison.Ordinal) + Command.Length)..];
        var lines = shown[..shown.IndexOf("```", StringComparison.Ordinal)].Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(l => l != "…").ToList();
        Assert.True(lines.Count > 5);
        Assert.All(lines, line => Assert.Contains(line.TrimEnd(), printed));
    }
}
