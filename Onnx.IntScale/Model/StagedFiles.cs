namespace Onnx.IntScale;

/// <summary>
/// Files of one folder that appear together or not at all. Each is written under a name that no other writer has
/// (x.PID-RANDOM.partial). <see cref="Commit"/> moves what they replace aside (x.PID-RANDOM.replaced), the last staged file first; gives
/// the new ones their names, the last staged file last; then deletes the replaced ones. So the last staged file, the model, is there only
/// while all the others are its own, even if the process is killed between two of these renames. A kill in that instant leaves
/// no model but both sets of files under names that tell which is which; an error puts the old ones back.
/// </summary>
internal sealed class StagedFiles : IDisposable
{
    private const string PartialSuffix = ".partial";
    private const string ReplacedSuffix = ".replaced";

    private readonly string _id = $".{Environment.ProcessId}-{Path.GetRandomFileName()[..8]}";
    private readonly string _folder;
    private readonly string? _createdFolder;
    private readonly Action<string, string> _move;
    private readonly List<StagedFile> _files = [];

    /// <summary>Creates the folder where it is missing.</summary>
    /// <param name="folder">Full path.</param>
    /// <param name="move">Renames a file and never replaces one; for tests.</param>
    /// <exception cref="ModelException">It cannot be created.</exception>
    public StagedFiles(string folder, Action<string, string>? move = null)
    {
        _folder = folder;
        _move = move ?? File.Move;
        _createdFolder = FirstMissing(folder);
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception e) when (StagedFile.IsFault(e))
        {
            throw StagedFile.Fault(folder, e);
        }
    }

    /// <summary>Whether a file is one that a killed process left behind.</summary>
    public static bool IsLeftover(string path) => path.EndsWith(PartialSuffix, StringComparison.Ordinal) || path.EndsWith(ReplacedSuffix, StringComparison.Ordinal);

    /// <summary>Whether there is a file, or a link that leads nowhere, which a rename would replace as well.</summary>
    public static bool IsTaken(string path) => File.Exists(path) || new FileInfo(path).LinkTarget != null;

    /// <summary>Starts a file.</summary>
    /// <exception cref="ModelException">It cannot be created.</exception>
    public StagedFile Add(string name)
    {
        var final = Path.Combine(_folder, name);
        var file = new StagedFile(final + _id + PartialSuffix, final);
        _files.Add(file);
        return file;
    }

    /// <summary>Gives every file its name.</summary>
    /// <param name="replace">Whether files that have those names may be replaced.</param>
    /// <param name="cancel">Stops before the first rename, never between two.</param>
    /// <param name="flush">Whether the data must be on the disk first.</param>
    /// <exception cref="ModelException">A file exists, or cannot be written or renamed; everything is as it was before.</exception>
    public void Commit(bool replace, CancellationToken cancel = default, bool flush = true)
    {
        foreach (var file in _files) file.Finish(flush);
        cancel.ThrowIfCancellationRequested();
        var aside = new List<string>();
        var placed = new List<StagedFile>();
        var at = _folder;
        try
        {
            foreach (var final in _files.Select(f => f.Final).Reverse().Where(IsTaken))
            {
                at = final;
                if (!replace) throw new IOException("it has appeared in the meantime");
                _move(final, final + _id + ReplacedSuffix);
                aside.Add(final);
            }

            foreach (var file in _files)
            {
                at = file.Final;
                _move(file.Partial, file.Final);
                placed.Add(file);
            }
        }
        catch (Exception e)
        {
            foreach (var file in placed.AsEnumerable().Reverse()) Try(() => _move(file.Final, file.Partial));
            foreach (var final in aside.AsEnumerable().Reverse()) Try(() => _move(final + _id + ReplacedSuffix, final));
            if (StagedFile.IsFault(e)) throw StagedFile.Fault(at, e);
            throw;
        }

        _files.Clear();
        foreach (var final in aside) Try(() => File.Delete(final + _id + ReplacedSuffix));
    }

    /// <summary>Deletes what was not committed.</summary>
    public void Dispose()
    {
        if (_files.Count == 0 && _createdFolder == null) return;
        foreach (var file in _files)
        {
            Try(file.Dispose);
            Try(() => File.Delete(file.Partial));
        }

        if (_createdFolder != null) Try(() => RemoveEmpty(_folder, _createdFolder));
    }

    /// <summary>The error that led to a clean-up is the one to tell, not what goes wrong in it.</summary>
    private static void Try(Action cleanUp)
    {
        try
        {
            cleanUp();
        }
        catch (Exception e) when (StagedFile.IsFault(e))
        {
        }
    }

    /// <summary>The outermost folder of a path that does not exist yet, or null.</summary>
    private static string? FirstMissing(string folder)
    {
        string? missing = null;
        for (var f = folder; !string.IsNullOrEmpty(f) && !Directory.Exists(f); f = Path.GetDirectoryName(f)) missing = f;
        return missing;
    }

    private static void RemoveEmpty(string folder, string outermost)
    {
        for (var f = folder; f.Length >= outermost.Length && Directory.Exists(f) && !Directory.EnumerateFileSystemEntries(f).Any(); f = Path.GetDirectoryName(f)!)
            Directory.Delete(f);
    }
}
