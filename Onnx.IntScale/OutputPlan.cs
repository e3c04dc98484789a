namespace Onnx.IntScale;

/// <summary>Where a conversion reads and writes, checked before anything is touched.</summary>
/// <param name="Input">The .onnx file read.</param>
/// <param name="Output">The .onnx file written.</param>
/// <param name="Companions">Files beside the input to copy along (tokenizer, configs): only where the input was given as a folder.</param>
public sealed record OutputPlan(string Input, string Output, IReadOnlyList<string> Companions)
{
    /// <summary>Plans a conversion.</summary>
    /// <param name="input">A .onnx file or a folder.</param>
    /// <param name="output">A folder, or a .onnx file.</param>
    /// <param name="force">Whether an existing output may be replaced.</param>
    /// <exception cref="ModelException">The output exists, or lies in the input's folder.</exception>
    public static OutputPlan For(string input, string output, bool force)
    {
        var model = ModelFile.Resolve(input);
        var asFile = output.EndsWith(".onnx", StringComparison.OrdinalIgnoreCase) && !Directory.Exists(output);
        var target = asFile ? output : Path.Combine(output, Path.GetFileName(model));
        var inputFolder = Real(Path.GetDirectoryName(Path.GetFullPath(model))!);
        var outputFolder = Real(Path.GetDirectoryName(Path.GetFullPath(target))!);
        if (outputFolder == inputFolder || outputFolder.StartsWith(inputFolder.TrimEnd('/', '\\') + Path.DirectorySeparatorChar, StringComparison.Ordinal))
            throw new ModelException(output, $"lies inside the input's folder {inputFolder}", "choose a folder outside it, so that the input stays as it is");
        if (File.Exists(outputFolder)) throw new ModelException(outputFolder, "is a file", "give a folder for the output");
        if (!force && File.Exists(target)) throw new ModelException(target, "exists already", "choose another output or add --force to replace it");
        return new(model, target, Directory.Exists(input) ? FindCompanions(model) : []);
    }

    /// <summary>Files of the model's folder that belong to no .onnx file: neither one themselves nor named after one (x.onnx.data, x.onnx_data, x.data).</summary>
    private static string[] FindCompanions(string model)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(model))!;
        var models = Directory.GetFiles(folder, "*.onnx").Select(f => Path.GetFileNameWithoutExtension(f)!).ToList();
        return [.. Directory.GetFiles(folder)
            .Where(f => !models.Any(m => Path.GetFileName(f).StartsWith(m + ".onnx", StringComparison.Ordinal) || Path.GetFileName(f) == m + ".data" || Path.GetFileName(f) == m + ".bin"))
            .Where(f => !f.EndsWith(ModelWriter.PartialSuffix, StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)];
    }

    /// <summary>A folder's path with symbolic links of its existing part resolved.</summary>
    private static string Real(string folder)
    {
        var info = new DirectoryInfo(folder);
        if (info.Exists) return info.ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? (info.Parent == null ? info.FullName : Path.Combine(Real(info.Parent.FullName), info.Name));
        return info.Parent == null ? info.FullName : Path.Combine(Real(info.Parent.FullName), info.Name);
    }
}
