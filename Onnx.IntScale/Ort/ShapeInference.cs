using System.Text;

namespace Onnx.IntScale;

/// <summary>
/// Y.shape = A.shape[:-1] + [N]. The leading dimensions (batch, sequence) are mostly symbolic, and ORT carries no symbols over by
/// itself. Nothing is refused here: ORT (1.29) drops this callback's status without a word. A K that does not fit is refused when
/// the kernel is created, which sees the same shapes.
/// </summary>
internal static unsafe class ShapeInference
{
    private static int _unknowns;

    /// <summary>Declares Y's type and shape, where A's rank is known.</summary>
    public static void Run(OrtApi api, void* context)
    {
        var a = api.InferredInput(context, OpSchema.A);
        var dims = api.Dimensions(a);
        var rank = dims.Length;
        // An unknown rank reads as 0, and so does a scalar, which is refused when the kernel meets it.
        if (rank == 0 || api.InferredIntAttribute(context, "N"u8) is not { } n) return;

        var symbols = api.Symbols(a, rank);
        dims[^1] = n;
        symbols[^1] = "";
        // A dimension that has neither a number nor a name would come out as the number -1. It gets a name of its own; a shared
        // one would claim that two unknown dimensions are equal, and ORT plans memory by such claims.
        for (var i = 0; i < rank; i++)
        {
            if (dims[i] < 0 && symbols[i].Length == 0) symbols[i] = $"intscale_unknown_{Interlocked.Increment(ref _unknowns)}";
        }

        Declare(api, context, api.ElementTypeOf(a), dims, symbols);
    }

    private static void Declare(OrtApi api, void* context, int type, long[] dims, string[] symbols)
    {
        var text = Encoding.UTF8.GetBytes(string.Join('\0', symbols) + '\0');
        var names = stackalloc byte*[dims.Length];
        fixed (byte* start = text)
        fixed (long* numbers = dims)
        {
            var next = start;
            for (var i = 0; i < dims.Length; i++)
            {
                names[i] = next;
                next += Encoding.UTF8.GetByteCount(symbols[i]) + 1;
            }

            api.SetInferredOutput(context, type, numbers, names, dims.Length);
        }
    }
}
