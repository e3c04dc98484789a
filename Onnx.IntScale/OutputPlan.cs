namespace Onnx.IntScale;

/// <summary>Where a conversion reads and writes, checked before anything is touched.</summary>
/// <param name="Input">The .onnx file read.</param>
/// <param name="Output">The .onnx file written.</param>
/// <param name="Companions">Files beside the input to copy along (tokenizer, configs): only where the input was given as a folder.</param>
public sealed record OutputPlan(string Input, string Output, IReadOnlyList<string> Companions)
{
    /// <summary>Plans a conversion.</summary>
    /// <param name="model">The model read.</param>
    /// <param name="input">The .onnx file or folder as the user gave it.</param>
    /// <param name="output">A folder, or a .onnx file.</param>
    /// <param name="force">Whether existing files may be replaced.</param>
    /// <exception cref="ModelException">A file to write exists, the output lies in the input's folder, or a file to copy cannot be read.</exception>
    public static OutputPlan For(ModelFile model, string input, string output, bool force)
    {
        if (string.IsNullOrWhiteSpace(output)) throw new ModelException("the output", "is an empty name", "give a folder or a .onnx file");
        var asFile = output.EndsWith(".onnx", StringComparison.OrdinalIgnoreCase) && !Directory.Exists(output);
        var target = asFile ? output : Path.Combine(output, Path.GetFileName(model.ModelPath));
        var inputFolder = RealPath.Of(model.Folder);
        var folder = Path.GetDirectoryName(Path.GetFullPath(target))!;
        var outputFolder = RealPath.Of(folder);
        if (outputFolder == inputFolder || outputFolder.StartsWith(inputFolder.TrimEnd('/', '\\') + Path.DirectorySeparatorChar, StringComparison.Ordinal))
            throw new ModelException(output, $"lies inside the input's folder {inputFolder}", "choose a folder outside it, so that the input stays as it is");
        if (File.Exists(outputFolder)) throw new ModelException(outputFolder, "is a file", "give a folder for the output");
        var companions = Directory.Exists(input) ? FindCompanions(model) : [];
        foreach (var file in companions) CheckReadable(file);
        foreach (var file in companions.Select(c => Path.Combine(folder, Path.GetFileName(c))).Prepend(target + ".data").Prepend(target))
        {
            if (Directory.Exists(file)) throw new ModelException(file, "is a folder where a file is to be written", "choose another output");
            if (!force && StagedFiles.IsTaken(file)) throw new ModelException(file, "exists already", "choose another output or add --force to replace it");
        }

        return new(model.ModelPath, target, companions);
    }

    /// <summary>
    /// Files of the model's folder that are neither a .onnx file, nor hold tensors of this one, nor are named after one (x.onnx.data,
    /// x.onnx_data, x.data).
    /// </summary>
    private static string[] FindCompanions(ModelFile model)
    {
        var models = Directory.GetFiles(model.Folder, "*.onnx").Select(f => Path.GetFileNameWithoutExtension(f)!).ToList();
        var tensors = TensorWalk.Tensors(model.Proto).Where(ExternalData.IsExternal)
            .Select(t => Path.GetFullPath(Path.Combine(model.Folder, ExternalData.Of(t, model.ModelPath).Location))).ToHashSet(StringComparer.Ordinal);
        return [.. Directory.GetFiles(model.Folder)
            .Where(f => !models.Any(m => Path.GetFileName(f).StartsWith(m + ".onnx", StringComparison.Ordinal) || Path.GetFileName(f) == m + ".data" || Path.GetFileName(f) == m + ".bin"))
            .Where(f => !tensors.Contains(f) && !StagedFiles.IsLeftover(f))
            .Order(StringComparer.Ordinal)];
    }

    /// <summary>Before minutes of work, not after: a link that leads nowhere, a file of another user.</summary>
    private static void CheckReadable(string file)
    {
        try
        {
            File.OpenHandle(file).Dispose();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelException(file, $"cannot be copied along ({e.Message.TrimEnd('.')})", "repair or remove it, or give the .onnx file itself: then nothing is copied along", e);
        }
    }
}
