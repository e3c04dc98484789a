namespace Onnx.IntScale;

/// <summary>
/// A fault in a model file, a tensor file or an option, told to the user as it is: what, where (file, node or tensor) and the remedy.
/// </summary>
public sealed class ModelException : Exception
{
    /// <summary>Makes the message "where: what; remedy".</summary>
    public ModelException(string where, string what, string? remedy = null, Exception? inner = null)
        : base($"{where}: {what}{(remedy == null ? "" : "; " + remedy)}", inner)
    {
    }
}
