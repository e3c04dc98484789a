using System.Numerics;

namespace Onnx.IntScale;

/// <summary>
/// The functions of <see cref="VnniRowCode"/> for one number of bits and one block size, by rows and channels: emitted together when the first
/// node needs them, so that a system which forbids it later finds none missing.
/// </summary>
internal sealed unsafe class VnniRowFunctions
{
    private const int BlockSizes = 5;
    private const int Forms = 3;

    private static readonly Lazy<VnniRowFunctions?>[] All =
        [.. Enumerable.Range(0, 2 * BlockSizes).Select(i => new Lazy<VnniRowFunctions?>(() => Emit(i < BlockSizes ? 4 : 8, 16 << (i % BlockSizes))))];

    private readonly nint[] _functions = new nint[(VnniRowCode.MaxRows + 1) * Forms];

    private VnniRowFunctions()
    {
    }

    /// <summary>The functions, or null where the system forbids executable memory.</summary>
    public static VnniRowFunctions? Of(int bits, int blockSize) => All[(bits / 8 * BlockSizes) + BitOperations.Log2((uint)blockSize) - 4].Value;

    /// <summary>void (RowArguments*) for 1 to 8 rows by 1, 2 or 4 channels, 16 sums at most.</summary>
    public nint For(int rows, int channels) => _functions[(rows * Forms) + BitOperations.Log2((uint)channels)];

    private static VnniRowFunctions? Emit(int bits, int blockSize)
    {
        var functions = new VnniRowFunctions();
        for (var rows = 1; rows <= VnniRowCode.MaxRows; rows++)
        {
            for (var channels = 1; channels <= 4 && rows * channels <= 16; channels *= 2)
            {
                var function = (nint)VnniRowCode.Emit(rows, channels, bits, blockSize);
                if (function == 0) return null;
                functions._functions[(rows * Forms) + BitOperations.Log2((uint)channels)] = function;
            }
        }

        return functions;
    }
}
