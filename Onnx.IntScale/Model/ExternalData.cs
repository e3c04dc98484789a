using System.Globalization;

namespace Onnx.IntScale;

/// <summary>
/// Where a tensor's bytes lie outside the model file. A location that a model file states must be a plain relative name: neither absolute
/// nor with "..". A symbolic link at that place is followed wherever it leads, since it is the user who made it: a Hugging Face
/// cache keeps every file of a model as a link to ../../blobs.
/// </summary>
/// <param name="Location">File, relative to the model's folder.</param>
/// <param name="Offset">First byte.</param>
/// <param name="Length">Bytes, or null where the model does not say.</param>
public readonly record struct ExternalData(string Location, long Offset, long? Length)
{
    /// <summary>Whether a tensor's data is external.</summary>
    public static bool IsExternal(TensorProto tensor) => tensor.DataLocation == TensorProto.Types.DataLocation.External;

    /// <summary>Reads the external_data entries of a tensor.</summary>
    /// <exception cref="ModelException">An entry is missing, is no number, or the location is absolute or has "..".</exception>
    public static ExternalData Of(TensorProto tensor, string modelPath)
    {
        string? location = null;
        long offset = 0;
        long? length = null;
        foreach (var entry in tensor.ExternalData)
        {
            switch (entry.Key)
            {
                case "location": location = entry.Value; break;
                case "offset": offset = Number(entry, tensor, modelPath); break;
                case "length": length = Number(entry, tensor, modelPath); break;
            }
        }

        var where = $"{modelPath}: tensor '{tensor.Name}'";
        if (string.IsNullOrEmpty(location)) throw new ModelException(where, "its data is external but no location is given", "export the model again");
        // A name that a terminal or the operating system would read differently is no name; its controls must not reach the message either.
        if (location.Any(char.IsControl)) throw new ModelException(where, "its external data location holds control characters", "export the model again");
        if (Path.IsPathRooted(location) || location.Contains(':'))
            throw new ModelException(where, $"external data location '{location}' is absolute", "put the file beside the model and give its relative name");
        if (location.Split('/', '\\').Contains(".."))
            throw new ModelException(where, $"external data location '{location}' leads out of the model's folder", "put the file beside the model and give its relative name");
        return new(location, offset, length);
    }

    /// <summary>Points a tensor at a place in a file, with its bytes taken out of the model file.</summary>
    public static void Set(TensorProto tensor, string location, long offset, long length)
    {
        tensor.ClearRawData();
        tensor.ExternalData.Clear();
        tensor.ExternalData.Add(new StringStringEntryProto { Key = "location", Value = location });
        tensor.ExternalData.Add(new StringStringEntryProto { Key = "offset", Value = offset.ToString(CultureInfo.InvariantCulture) });
        tensor.ExternalData.Add(new StringStringEntryProto { Key = "length", Value = length.ToString(CultureInfo.InvariantCulture) });
        tensor.DataLocation = TensorProto.Types.DataLocation.External;
    }

    private static long Number(StringStringEntryProto entry, TensorProto tensor, string modelPath) =>
        long.TryParse(entry.Value, NumberStyles.None, CultureInfo.InvariantCulture, out var value)
            ? value
            : throw new ModelException($"{modelPath}: tensor '{tensor.Name}'", $"external data {entry.Key} '{entry.Value}' is not a number", "export the model again");
}
