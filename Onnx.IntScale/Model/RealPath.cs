namespace Onnx.IntScale;

/// <summary>Where a path really leads: every symbolic link on the way is followed, also those inside the targets of others.</summary>
internal static class RealPath
{
    /// <summary>As many as Linux follows.</summary>
    private const int MostLinks = 40;

    /// <summary>The path without links. What does not exist is kept as it is written, so that it works for files yet to be made.</summary>
    /// <exception cref="ModelException">The links lead in a circle.</exception>
    public static string Of(string path)
    {
        var full = Path.GetFullPath(path);
        var real = Path.GetPathRoot(full)!;
        var ahead = new Stack<string>();
        Push(ahead, full[real.Length..]);
        for (var links = 0; ahead.TryPop(out var name);)
        {
            if (name == "..")
            {
                real = Path.GetDirectoryName(real) ?? real;
                continue;
            }

            var next = Path.Combine(real, name);
            if (new FileInfo(next).LinkTarget is not { } target)
            {
                real = next;
                continue;
            }

            if (++links > MostLinks) throw new ModelException(path, "is a circle of symbolic links", "repair the links");
            var root = Path.GetPathRoot(target) ?? "";
            if (root.Length > 0) real = root;
            Push(ahead, target[root.Length..]);
        }

        return real;
    }

    private static void Push(Stack<string> ahead, string path)
    {
        foreach (var name in path.Split(['/', Path.DirectorySeparatorChar]).Reverse().Where(n => n is not ("" or "."))) ahead.Push(name);
    }
}
