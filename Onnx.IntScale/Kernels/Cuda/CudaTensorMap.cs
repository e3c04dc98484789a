using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Onnx.IntScale;

/// <summary>
/// What the wgmma kernels' second parameter says of B: where its rows lie. Describing it takes the driver a fraction of a microsecond,
/// so nothing is kept.
/// </summary>
internal static unsafe class CudaTensorMap
{
    private const int Alignment = 64;

    /// <summary>Room for a CUtensorMap, 128 bytes, wherever it can be aligned.</summary>
    [InlineArray(128 + Alignment)]
    public struct Storage
    {
        private byte _first;
    }

    /// <summary>Describes the codes of a call; the result lies in <paramref name="storage"/>, which must be on the stack.</summary>
    public static void* Of(in CudaParams parameters, ref Storage storage)
    {
        var map = (void*)(((nint)Unsafe.AsPointer(ref storage) + Alignment - 1) & -Alignment);
        CudaDriver.Describe(map, parameters.B, parameters.N, parameters.KBlocks * (parameters.BlockSize / 2));
        return map;
    }
}
