using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Onnx.IntScale;

/// <summary>What an input of a causal language model is for.</summary>
internal enum InputRole
{
    Ids,
    Mask,
    Positions,
    Past,
}

/// <summary>One input of a causal language model.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Role">What it is for.</param>
/// <param name="Type">Element type.</param>
/// <param name="Dimensions">Declared shape; -1 where symbolic.</param>
internal sealed record ModelInput(string Name, InputRole Role, TensorElementType Type, int[] Dimensions)
{
    /// <summary>Start of a cache input's name: past_key_values.0.key.</summary>
    public const string PastPrefix = "past_key_values";

    /// <summary>Element types that logits and caches may have.</summary>
    public static bool IsFloat(TensorElementType type) => type is TensorElementType.Float16 or TensorElementType.Float or TensorElementType.BFloat16;

    /// <summary>Recognizes a session's inputs.</summary>
    /// <exception cref="ModelException">An input is required that a causal language model does not have, or has a wrong type.</exception>
    public static IReadOnlyList<ModelInput> Of(string modelPath, InferenceSession session)
    {
        var inputs = session.InputNames.Select(name =>
        {
            var where = $"{modelPath}: input '{name}'";
            var info = session.InputMetadata[name];
            if (RoleOf(name, session.InputNames.Count) is not { } role || !info.IsTensor)
                throw new ModelException(
                    where, "it is not known what to feed it",
                    "export the model with input_ids, attention_mask, position_ids and past_key_values.* only");
            var isRight = role == InputRole.Past ? IsFloat(info.ElementDataType) : info.ElementDataType is TensorElementType.Int32 or TensorElementType.Int64;
            if (!isRight)
                throw new ModelException(
                    where,
                    $"is of type {info.ElementDataType.ToString().ToLowerInvariant()}; expected {(role == InputRole.Past ? "float16, bfloat16 or float" : "int32 or int64")}",
                    "export the model again");
            return new ModelInput(name, role, info.ElementDataType, info.Dimensions);
        }).ToList();
        return inputs.Any(i => i.Role == InputRole.Ids)
            ? inputs
            : throw new ModelException(modelPath, "has no input named input_ids", "export it as a causal language model");
    }

    /// <summary>The input's value for tokens that follow pastLength others; for a cache input, an empty cache. Batch 1.</summary>
    public OrtValue Create(ReadOnlySpan<int> tokens, int pastLength)
    {
        switch (Role)
        {
            case InputRole.Ids:
                var ids = new long[tokens.Length];
                for (var i = 0; i < ids.Length; i++) ids[i] = tokens[i];
                return Integers(ids);
            case InputRole.Mask:
                var mask = new long[pastLength + tokens.Length];
                Array.Fill(mask, 1);
                return Integers(mask);
            case InputRole.Positions:
                var positions = new long[tokens.Length];
                for (var i = 0; i < positions.Length; i++) positions[i] = pastLength + i;
                return Integers(positions);
            default:
                // [batch, heads, past, head size]: batch is 1, the other symbolic axis is the past.
                var shape = Dimensions.Select((d, axis) => d >= 0 ? d : axis == 0 ? 1L : 0L).ToArray();
                return OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, Type, shape);
        }
    }

    private static InputRole? RoleOf(string name, int inputs) => name switch
    {
        "input_ids" => InputRole.Ids,
        "attention_mask" => InputRole.Mask,
        "position_ids" => InputRole.Positions,
        _ when name.StartsWith(PastPrefix, StringComparison.Ordinal) => InputRole.Past,
        _ => inputs == 1 ? InputRole.Ids : null,
    };

    private OrtValue Integers(long[] values)
    {
        long[] shape = [1, values.Length];
        return Type == TensorElementType.Int64
            ? OrtValue.CreateTensorValueFromMemory(values, shape)
            : OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(values, v => (int)v), shape);
    }
}
