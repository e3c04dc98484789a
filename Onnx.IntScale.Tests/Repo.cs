namespace Onnx.IntScale.Tests;

/// <summary>Where the checkout lies.</summary>
internal static class Repo
{
    /// <summary>The folder that holds IntScaleOnnx.sln.</summary>
    public static string Root { get; } = Find();

    /// <summary>A file of the checkout.</summary>
    public static string At(string path) => Path.Combine(Root, path);

    private static string Find()
    {
        for (var folder = AppContext.BaseDirectory; folder != null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, "IntScaleOnnx.sln"))) return folder;
        }

        throw new DirectoryNotFoundException("the tests run inside a checkout");
    }
}
