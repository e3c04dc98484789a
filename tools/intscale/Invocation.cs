namespace Onnx.IntScale.Tool;

/// <summary>Command lines of this tool for the user to type or paste.</summary>
internal static class Invocation
{
    private const string Project = "tools/intscale";

    /// <summary>
    /// The command line with these arguments: <c>intscale …</c> of an installed tool, and <c>dotnet run …</c> where the tool was built in a
    /// checkout, whose users have no intscale in their PATH.
    /// </summary>
    public static string Of(params string[] args) => string.Join(' ', [Program(AppContext.BaseDirectory, Directory.GetCurrentDirectory()), .. args.Select(Quote)]);

    /// <summary>How the tool that lies in a folder is started from another.</summary>
    public static string Program(string baseFolder, string currentFolder)
    {
        for (var folder = baseFolder; folder != null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, Project, "intscale.csproj")))
                return $"dotnet run -c Release --project {Quote(Path.GetRelativePath(currentFolder, Path.Combine(folder, Project)))} --";
        }

        return "intscale";
    }

    /// <summary>An argument as a shell wants it: quoted where it has more than letters, digits and what paths are made of.</summary>
    public static string Quote(string argument)
    {
        if (argument.Length > 0 && argument.All(c => char.IsLetterOrDigit(c) || "/\\._-:+=,@%".Contains(c))) return argument;
        return OperatingSystem.IsWindows() ? $"\"{argument}\"" : $"'{argument.Replace("'", "'\\''")}'";
    }
}
