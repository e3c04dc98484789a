using System.Runtime.InteropServices;
using Google.Protobuf;

namespace Onnx.IntScale;

/// <summary>
/// An ONNX model on disk. Only the graph is held in memory; tensors with external data are read one at a time,
/// by location, offset and length.
/// </summary>
public sealed class ModelFile
{
    private const int ChunkBytes = 4 << 20;

    private ModelFile(string path, ModelProto proto)
    {
        ModelPath = path;
        Proto = proto;
    }

    /// <summary>The .onnx file.</summary>
    public string ModelPath { get; }

    /// <summary>Its folder, which external data is relative to.</summary>
    public string Folder => Path.GetDirectoryName(Path.GetFullPath(ModelPath))!;

    /// <summary>The parsed model; external tensors hold their place, not their data.</summary>
    public ModelProto Proto { get; }

    /// <summary>The .onnx file that an argument means: the file itself, or the model.onnx (or the only .onnx) of a folder.</summary>
    /// <exception cref="ModelException">There is none.</exception>
    public static string Resolve(string path)
    {
        if (File.Exists(path)) return path;
        if (!Directory.Exists(path)) throw new ModelException(path, "no such file or folder", "give a .onnx file or a folder that holds model.onnx");
        var model = Path.Combine(path, "model.onnx");
        if (File.Exists(model)) return model;
        var others = Directory.GetFiles(path, "*.onnx");
        return others.Length == 1
            ? others[0]
            : throw new ModelException(path, others.Length == 0 ? "no .onnx file in this folder" : $"no model.onnx but {others.Length} other .onnx files in this folder", "name the .onnx file itself");
    }

    /// <summary>Loads the model that a path means (see <see cref="Resolve"/>).</summary>
    /// <exception cref="ModelException">The file is missing, unreadable, truncated or no ONNX model.</exception>
    public static ModelFile Load(string path)
    {
        var file = Resolve(path);
        try
        {
            using var stream = File.OpenRead(file);
            if (stream.Length > int.MaxValue) throw new ModelException(file, "is larger than 2 GiB, the limit of an ONNX protobuf", "save it with external data");
            var input = CodedInputStream.CreateWithLimits(stream, int.MaxValue, 200);
            var proto = ModelProto.Parser.ParseFrom(input);
            if (proto.Graph == null || (!proto.HasIrVersion && proto.OpsetImport.Count == 0))
                throw new ModelException(file, "is not an ONNX model: it holds no graph", "download or export it again");
            return new ModelFile(file, proto);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new ModelException(file, $"is not an ONNX model or is truncated ({e.Message.TrimEnd('.')})", "download or export it again", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelException(file, e.Message.TrimEnd('.'), "check the file and its permissions", e);
        }
    }

    /// <summary>Whether the tensor's dims, type and data agree, and where its external data lies; reads no data.</summary>
    /// <returns>Bytes of the tensor's data.</returns>
    /// <exception cref="ModelException">They do not, or the external file is missing or too short.</exception>
    public long Check(TensorProto tensor)
    {
        var where = $"{ModelPath}: tensor '{tensor.Name}'";
        long? declared;
        try
        {
            declared = TensorTypes.BytesOf(tensor);
        }
        catch (OverflowException)
        {
            throw new ModelException(where, $"impossible shape [{string.Join(',', tensor.Dims)}]", "export the model again");
        }

        if (!ExternalData.IsExternal(tensor))
        {
            if (tensor.HasRawData && declared is { } bytes && tensor.RawData.Length != bytes)
                throw new ModelException(where, $"{TensorTypes.Describe(tensor)} needs {bytes} bytes but holds {tensor.RawData.Length}", "the file is damaged; export it again");
            return tensor.HasRawData ? tensor.RawData.Length : declared ?? tensor.StringData.Sum(s => (long)s.Length);
        }

        var place = ExternalData.Of(tensor, ModelPath);
        var length = place.Length ?? declared ?? throw new ModelException(where, "external data of unknown length", "export the model again");
        if (declared is { } expected && length != expected)
            throw new ModelException(where, $"{TensorTypes.Describe(tensor)} needs {expected} bytes but its external length is {length}", "the model is damaged; export it again");
        var file = new FileInfo(RealPathOf(place));
        if (!file.Exists) throw new ModelException(where, $"its external data file '{place.Location}' is missing", "copy the file beside the model");
        if (place.Offset > file.Length)
            throw new ModelException(where, $"offset {place.Offset} lies past the end of '{place.Location}' ({file.Length} bytes)", "the file is truncated or of another model; copy it again");
        if (place.Offset + length > file.Length)
            throw new ModelException(where, $"needs bytes {place.Offset} to {place.Offset + length} of '{place.Location}', which has only {file.Length}", "the file is truncated; copy it again");
        return length;
    }

    /// <summary>Bytes of the whole model: the .onnx file and the external data in use, what tensors share counted once.</summary>
    /// <exception cref="ModelException">See <see cref="Check"/>.</exception>
    public long TotalBytes() =>
        new FileInfo(RealPath.Of(ModelPath)).Length + TensorWalk.Tensors(Proto).Where(ExternalData.IsExternal).Select(PlaceOf).Distinct().Sum(p => p.Length!.Value);

    /// <summary>Where a tensor's external data lies, its length always given.</summary>
    /// <exception cref="ModelException">See <see cref="Check"/>.</exception>
    public ExternalData PlaceOf(TensorProto tensor) => ExternalData.Of(tensor, ModelPath) with { Length = Check(tensor) };

    /// <summary>The file that external data lies in, links followed.</summary>
    public string RealPathOf(ExternalData place) => RealPath.Of(Path.Combine(Folder, place.Location.Replace('\\', '/')));

    /// <summary>The raw little-endian bytes of a tensor, from wherever they are kept (external file, raw_data, typed fields).</summary>
    /// <exception cref="ModelException">See <see cref="Check"/>; also a type that has no raw form.</exception>
    public unsafe TensorBuffer Read(TensorProto tensor, CancellationToken cancel = default)
    {
        var length = Check(tensor);
        var buffer = new TensorBuffer(length);
        if (ExternalData.IsExternal(tensor))
        {
            long done = 0;
            foreach (var chunk in Chunks(tensor, cancel))
            {
                chunk.Span.CopyTo(new Span<byte>(buffer.Data + done, chunk.Length));
                done += chunk.Length;
            }
        }
        else if (tensor.HasRawData)
        {
            tensor.RawData.Span.CopyTo(buffer.Slice(0, tensor.RawData.Length));
        }
        else
        {
            TypedFields(tensor, buffer.Slice(0, checked((int)length)));
        }

        return buffer;
    }

    /// <summary>An external tensor's bytes, a few MiB at a time; each chunk is valid until the next is asked for.</summary>
    /// <exception cref="ModelException">See <see cref="Check"/>.</exception>
    public IEnumerable<ReadOnlyMemory<byte>> Chunks(TensorProto tensor, CancellationToken cancel = default)
    {
        var place = PlaceOf(tensor);
        using var file = Try(() => File.OpenHandle(RealPathOf(place), options: FileOptions.SequentialScan));
        var chunk = new byte[(int)Math.Min(ChunkBytes, Math.Max(place.Length!.Value, 1))];
        for (long done = 0; done < place.Length;)
        {
            cancel.ThrowIfCancellationRequested();
            var read = Try(() => RandomAccess.Read(file, chunk.AsSpan(0, (int)Math.Min(chunk.Length, place.Length.Value - done)), place.Offset + done));
            if (read == 0) throw Unreadable("it ended early");
            yield return chunk.AsMemory(0, read);
            done += read;
        }

        T Try<T>(Func<T> read)
        {
            try
            {
                return read();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw Unreadable(e.Message.TrimEnd('.'), e);
            }
        }

        ModelException Unreadable(string why, Exception? inner = null) =>
            new($"{ModelPath}: tensor '{tensor.Name}'", $"cannot read '{place.Location}': {why}", "check the file and its permissions", inner);
    }

    /// <summary>The rarely used typed fields of float tensors; float16 and bfloat16 lie as bit patterns in int32_data.</summary>
    private void TypedFields(TensorProto tensor, Span<byte> destination)
    {
        var count = TensorTypes.CountOf(tensor);
        var type = TensorTypes.FloatType(tensor.DataType);
        if (type == ElementType.Float && tensor.FloatData.Count == count)
        {
            var values = MemoryMarshal.Cast<byte, float>(destination);
            for (var i = 0; i < values.Length; i++) values[i] = tensor.FloatData[i];
        }
        else if (type is ElementType.Float16 or ElementType.BFloat16 && tensor.Int32Data.Count == count)
        {
            var values = MemoryMarshal.Cast<byte, ushort>(destination);
            for (var i = 0; i < values.Length; i++) values[i] = (ushort)tensor.Int32Data[i];
        }
        else
        {
            throw new ModelException($"{ModelPath}: tensor '{tensor.Name}'", $"{TensorTypes.Describe(tensor)} holds no data", "the file is damaged; export it again");
        }
    }
}
