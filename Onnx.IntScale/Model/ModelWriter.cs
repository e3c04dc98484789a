namespace Onnx.IntScale;

/// <summary>
/// Writes a model so that it appears complete or not at all: tensors are streamed to one <c>.data</c> file, the graph to another, each
/// under a temporary name, and <see cref="Commit"/> renames them together. Disposing without a commit deletes every trace.
/// </summary>
public sealed class ModelWriter : IDisposable
{
    private const int Alignment = 64;
    private const int PageAlignment = 4096;
    private const int PageThreshold = 64 << 10;
    private const int ChunkBytes = 4 << 20;

    private readonly string _modelName;
    private readonly string _dataName;
    private readonly bool _replace;
    private readonly StagedFiles _files;
    private readonly Dictionary<ExternalData, long> _copied = [];
    private StagedFile? _data;

    /// <summary>Creates the output folder where it is missing.</summary>
    /// <param name="modelPath">The .onnx file to write; tensors go to the same name with .data appended.</param>
    /// <param name="replace">Whether files that exist may be replaced.</param>
    /// <exception cref="ModelException">The folder cannot be created.</exception>
    public ModelWriter(string modelPath, bool replace = false)
    {
        var full = Path.GetFullPath(modelPath);
        _modelName = Path.GetFileName(full);
        _dataName = _modelName + ".data";
        _replace = replace;
        _files = new(Path.GetDirectoryName(full)!);
    }

    /// <summary>Whether <see cref="Commit"/> waits until the data is on the disk; a model that is made to be measured and deleted need not be.</summary>
    internal bool Flush { get; init; } = true;

    /// <summary>Bytes of tensor data written so far.</summary>
    public long DataBytes => _data?.Length ?? 0;

    /// <summary>Appends a tensor's bytes and returns the initializer that points at them.</summary>
    /// <exception cref="ModelException">The output cannot be written.</exception>
    public TensorProto Append(string name, TensorProto.Types.DataType type, IEnumerable<long> dims, ReadOnlySpan<byte> bytes)
    {
        var data = Align(bytes.Length);
        var tensor = new TensorProto { Name = name, DataType = (int)type };
        tensor.Dims.AddRange(dims);
        ExternalData.Set(tensor, _dataName, data.Length, bytes.Length);
        data.Write(bytes);
        return tensor;
    }

    /// <summary>Copies an external tensor of another model and points the tensor at the copy; tensors that share their bytes go on sharing them.</summary>
    /// <param name="source">The model that the tensor is of.</param>
    /// <param name="tensor">The tensor.</param>
    /// <param name="progress">Told the bytes of each chunk copied; not called where the bytes are copied already.</param>
    /// <param name="cancel">Stops between chunks.</param>
    /// <exception cref="ModelException">The input cannot be read or the output not be written.</exception>
    public void CopyExternal(ModelFile source, TensorProto tensor, Action<long>? progress = null, CancellationToken cancel = default)
    {
        var place = source.PlaceOf(tensor);
        if (!_copied.TryGetValue(place, out var offset))
        {
            var data = Align(place.Length!.Value);
            offset = data.Length;
            foreach (var chunk in source.Chunks(tensor, cancel))
            {
                data.Write(chunk.Span);
                progress?.Invoke(chunk.Length);
            }

            _copied.Add(place, offset);
        }

        ExternalData.Set(tensor, _dataName, offset, place.Length!.Value);
    }

    /// <summary>Copies a file beside the model.</summary>
    /// <param name="source">The file.</param>
    /// <param name="cancel">Stops between chunks.</param>
    /// <exception cref="ModelException">The file cannot be read or the copy not be written.</exception>
    public void CopyFile(string source, CancellationToken cancel = default)
    {
        var chunk = new byte[ChunkBytes];
        try
        {
            using var input = File.OpenRead(source);
            var copy = _files.Add(Path.GetFileName(source));
            while (input.Read(chunk) is > 0 and var read)
            {
                cancel.ThrowIfCancellationRequested();
                copy.Write(chunk.AsSpan(0, read));
            }

            copy.Finish();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelException(source, $"cannot be copied along ({e.Message.TrimEnd('.')})", "check the file and its permissions", e);
        }
    }

    /// <summary>Writes the graph and gives every file its name. The model's own file comes last: what loads is complete.</summary>
    /// <param name="model">The graph.</param>
    /// <param name="cancel">Stops before the first file gets its name.</param>
    /// <returns>Bytes of the .onnx file.</returns>
    /// <exception cref="ModelException">The output cannot be written; what was there before is as it was.</exception>
    public long Commit(ModelProto model, CancellationToken cancel = default)
    {
        var graph = _files.Add(_modelName);
        graph.Write(model);
        _files.Commit(_replace, cancel, Flush);
        return graph.Length;
    }

    /// <inheritdoc/>
    public void Dispose() => _files.Dispose();

    /// <summary>The data file, padded to the next tensor's place: pages for large tensors, so that they can be mapped, vectors for small ones.</summary>
    private StagedFile Align(long length)
    {
        _data ??= _files.Add(_dataName);
        var alignment = length >= PageThreshold ? PageAlignment : Alignment;
        _data.Write(new byte[(int)((alignment - (_data.Length % alignment)) % alignment)]);
        return _data;
    }
}
