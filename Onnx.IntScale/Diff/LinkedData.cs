namespace Onnx.IntScale;

/// <summary>
/// External data behind symbolic links that lead out of the model's folder, as Hugging Face caches have it. ONNX Runtime takes none
/// ("External data path escapes model directory"), so a copy of the graph is pointed at the real files.
/// </summary>
internal static class LinkedData
{
    /// <summary>Whether a file of the model really lies outside the model's folder.</summary>
    public static bool IsIn(ModelFile model)
    {
        var folder = RealPath.Of(model.Folder) + Path.DirectorySeparatorChar;
        return TensorWalk.Tensors(model.Proto).Where(ExternalData.IsExternal).Select(t => ExternalData.Of(t, model.ModelPath).Location).Distinct()
            .Any(location => !FileOf(model, location).StartsWith(folder, StringComparison.Ordinal));
    }

    /// <summary>Rewrites each location to the file that it really is, relative to the innermost folder that holds all of them.</summary>
    /// <param name="model">The model.</param>
    /// <param name="copy">A copy of its graph, which is changed.</param>
    /// <returns>That folder.</returns>
    /// <exception cref="ModelException">A file is missing or too short, or the files lie on several drives.</exception>
    public static string Relocate(ModelFile model, ModelProto copy)
    {
        var tensors = TensorWalk.Tensors(copy).Where(ExternalData.IsExternal).Select(t => (Tensor: t, Place: model.PlaceOf(t))).ToList();
        var files = tensors.Select(t => t.Place.Location).Distinct().ToDictionary(l => l, l => FileOf(model, l), StringComparer.Ordinal);
        var folder = files.Values.Select(f => Path.GetDirectoryName(f)!).DefaultIfEmpty(model.Folder).Aggregate(Common);
        foreach (var (tensor, place) in tensors) ExternalData.Set(tensor, Path.GetRelativePath(folder, files[place.Location]), place.Offset, place.Length!.Value);
        return folder;
    }

    private static string FileOf(ModelFile model, string location) => model.RealPathOf(new(location, 0, null));

    /// <summary>The innermost folder that holds both.</summary>
    private static string Common(string a, string b)
    {
        while (Path.GetRelativePath(a, b) is var way && (way.StartsWith("..", StringComparison.Ordinal) || Path.IsPathRooted(way)))
            a = Path.GetDirectoryName(a) ?? throw new ModelException(b, "lies on another drive than the model's other files", "copy the model to one folder");
        return a;
    }
}
