namespace Onnx.IntScale;

/// <summary>What a call's inputs must be, on any execution provider.</summary>
internal static unsafe class NodeInputs
{
    /// <summary>Most dimensions of A.</summary>
    public const int MaxRank = 32;

    /// <summary>Says that A does not fit the weights.</summary>
    public static string WrongK(long actual, long k) =>
        $"the last dimension of A is {actual}, but the weights are for K={k}; feed A with {k} features, or {KernelWeights.ConvertAgain}";

    /// <summary>Refuses a node for whose A the graph declares another K.</summary>
    /// <exception cref="NodeFaultException">It does.</exception>
    public static void CheckDeclaredK(OrtApi api, void* info, int k)
    {
        var declared = api.DeclaredLastDim(info, OpSchema.A);
        if (declared >= 0 && declared != k) throw new NodeFaultException(WrongK(declared, k));
    }

    /// <summary>M, the product of A's leading dimensions.</summary>
    /// <exception cref="NodeFaultException">A is not [..., K].</exception>
    public static int Rows(TensorShape a, int k)
    {
        if (a.Rank is 0 or > MaxRank) throw new NodeFaultException($"A has {a.Rank} dimensions; give it 1 to {MaxRank}, the last one of K={k}");
        if (a.Dims[a.Rank - 1] != k) throw new NodeFaultException(WrongK(a.Dims[a.Rank - 1], k));
        // ORT has made a tensor of it, so the product fits a long.
        var rows = 1L;
        for (var i = 0; i < a.Rank - 1; i++) rows *= a.Dims[i];
        return rows <= int.MaxValue ? (int)rows : throw new NodeFaultException($"A has {rows} rows; at most {int.MaxValue} are possible, so split the batch");
    }

    /// <summary>Makes the output: A's shape with N in place of K. Returns where its elements lie.</summary>
    public static void* Output(OrtApi api, void* context, TensorShape a, int n)
    {
        var dims = stackalloc long[MaxRank];
        new ReadOnlySpan<long>(a.Dims, a.Rank).CopyTo(new Span<long>(dims, MaxRank));
        dims[a.Rank - 1] = n;
        return api.Data(api.Output(context, dims, a.Rank));
    }

    /// <summary>Refuses a constant bias that does not fit, when the kernel is made.</summary>
    /// <exception cref="NodeFaultException">It does not.</exception>
    public static void CheckConstantBias(OrtApi api, void* info, ElementType type, int n)
    {
        var bias = api.ConstantInput(info, OpSchema.Bias);
        if (bias != null) _ = CheckedBias(api, bias, type, n);
    }

    /// <summary>This call's bias, or null where the node has none.</summary>
    /// <exception cref="NodeFaultException">It does not fit.</exception>
    public static void* Bias(OrtApi api, void* context, ElementType type, int n)
    {
        var bias = api.Input(context, OpSchema.Bias);
        return bias == null ? null : CheckedBias(api, bias, type, n);
    }

    private static void* CheckedBias(OrtApi api, void* bias, ElementType type, int n)
    {
        var shape = api.Shape(bias);
        if (shape.Type != (int)type) throw new NodeFaultException($"bias has element type {shape.Type}, expected A's, {(int)type}; cast it");
        if (!shape.Is([n])) throw new NodeFaultException($"bias has shape {shape}, expected [{n}]; reshape it");
        return api.Data(bias);
    }
}
