namespace Onnx.IntScale.Tests;

/// <summary>
/// A test on the books that classics-13m was kept from in training, and on its torch.onnx export. They lie beside the checkout
/// (../shared/models/classics-13m), not in it; without them the test is reported as skipped.
/// </summary>
internal sealed class SharedFactAttribute : FactAttribute
{
    public SharedFactAttribute()
    {
        if (!File.Exists(Tokens)) Skip = "../shared/models/classics-13m is not beside the checkout";
    }

    public static string Folder => Path.GetFullPath(Repo.At("../shared/models/classics-13m"));

    public static string Tokens => Path.Combine(Folder, "eval_tokens.npy");
}
