using Google.Protobuf;

namespace Onnx.IntScale;

/// <summary>
/// Writes a model so that it appears complete or not at all: tensors are streamed to one <c>.data</c> file under a temporary name,
/// the graph to another, and both are renamed by <see cref="Commit"/>. Disposing without a commit deletes every trace.
/// </summary>
public sealed class ModelWriter : IDisposable
{
    /// <summary>Suffix of files that are still being written.</summary>
    public const string PartialSuffix = ".partial";

    private const int Alignment = 64;
    private const int PageAlignment = 4096;
    private const int PageThreshold = 64 << 10;

    private readonly string _modelPath;
    private readonly string _dataPath;
    private readonly string? _createdFolder;
    private readonly List<(string Partial, string Final)> _files = [];
    private readonly Dictionary<ExternalData, long> _copied = [];
    private FileStream? _data;
    private bool _committed;

    /// <summary>Creates the output folder where it is missing.</summary>
    /// <param name="modelPath">The .onnx file to write; tensors go to the same name with .data appended.</param>
    public ModelWriter(string modelPath)
    {
        _modelPath = Path.GetFullPath(modelPath);
        _dataPath = _modelPath + ".data";
        _createdFolder = FirstMissing(Path.GetDirectoryName(_modelPath)!);
        Directory.CreateDirectory(Path.GetDirectoryName(_modelPath)!);
    }

    /// <summary>Bytes of tensor data written so far.</summary>
    public long DataBytes => _data?.Position ?? 0;

    /// <summary>Appends a tensor's bytes and returns the initializer that points at them.</summary>
    public TensorProto Append(string name, TensorProto.Types.DataType type, IEnumerable<long> dims, ReadOnlySpan<byte> bytes)
    {
        var offset = Align(bytes.Length);
        _data!.Write(bytes);
        var tensor = new TensorProto { Name = name, DataType = (int)type };
        tensor.Dims.AddRange(dims);
        ExternalData.Set(tensor, Path.GetFileName(_dataPath), offset, bytes.Length);
        return tensor;
    }

    /// <summary>Copies an external tensor of another model and points the tensor at the copy; tensors that share their bytes go on sharing them.</summary>
    /// <returns>Bytes of the tensor.</returns>
    public long CopyExternal(ModelFile source, TensorProto tensor)
    {
        var length = source.Check(tensor);
        var place = ExternalData.Of(tensor, source.ModelPath) with { Length = length };
        if (!_copied.TryGetValue(place, out var offset))
        {
            offset = Align(length);
            source.CopyExternal(tensor, _data!);
            _copied.Add(place, offset);
        }

        ExternalData.Set(tensor, Path.GetFileName(_dataPath), offset, length);
        return length;
    }

    /// <summary>Copies a file beside the model.</summary>
    public void CopyFile(string source)
    {
        var final = Path.Combine(Path.GetDirectoryName(_modelPath)!, Path.GetFileName(source));
        File.Copy(source, Partial(final), overwrite: true);
    }

    /// <summary>Writes the graph and gives every file its name. The model's own file comes last: what loads is complete.</summary>
    public void Commit(ModelProto model)
    {
        if (_data != null)
        {
            _data.Flush(flushToDisk: true);
            _data.Dispose();
        }

        using (var stream = new FileStream(Partial(_modelPath), FileMode.Create, FileAccess.Write))
        {
            model.WriteTo(stream);
            stream.Flush(flushToDisk: true);
        }

        // An old model must not meet new data, not even for an instant.
        File.Delete(_modelPath);
        if (_data == null) File.Delete(_dataPath);
        foreach (var (partial, final) in _files) File.Move(partial, final, overwrite: true);
        _committed = true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_committed) return;

        // The error that led here is the one to tell; a full disk fails once more when the stream's buffer is given up.
        Try(() => _data?.Dispose());
        foreach (var (partial, _) in _files) Try(() => File.Delete(partial));
        if (_createdFolder != null) Try(() => RemoveEmpty(Path.GetDirectoryName(_modelPath)!, _createdFolder));
    }

    private static void Try(Action cleanUp)
    {
        try
        {
            cleanUp();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
        }
    }

    /// <summary>Pads to the next tensor's place: pages for large tensors, so that they can be mapped, vectors for small ones.</summary>
    private long Align(long length)
    {
        _data ??= new FileStream(Partial(_dataPath), FileMode.Create, FileAccess.Write, FileShare.None, 1 << 20);
        var alignment = length >= PageThreshold ? PageAlignment : Alignment;
        var padding = (int)((alignment - (_data.Position % alignment)) % alignment);
        _data.Write(new byte[padding]);
        return _data.Position;
    }

    private string Partial(string final)
    {
        _files.Add((final + PartialSuffix, final));
        return final + PartialSuffix;
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
