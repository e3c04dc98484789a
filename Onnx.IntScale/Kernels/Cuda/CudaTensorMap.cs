using System.Runtime.InteropServices;

namespace Onnx.IntScale;

/// <summary>What the wgmma kernels' second parameter, a CUtensorMap, says of B: where its rows lie, for copies of 64 rows by 64 bytes.</summary>
internal sealed unsafe class CudaTensorMap : IDisposable
{
    /// <summary>Bytes of a CUtensorMap.</summary>
    public const int Bytes = 128;

    /// <summary>Alignment of a CUtensorMap.</summary>
    public const int Alignment = 64;

    private readonly void* _matrix;
    private void* _map;

    /// <summary>Describes the codes of calls with these weights, once for all of them.</summary>
    /// <exception cref="CudaException">The driver refuses.</exception>
    public CudaTensorMap(in CudaParams parameters)
    {
        _matrix = parameters.B;
        _map = NativeMemory.AlignedAlloc(Bytes, Alignment);
        try
        {
            Describe(_map, parameters);
        }
        catch (CudaException)
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The map where it is that of a call's codes, else null.</summary>
    public void* For(in CudaParams parameters) => parameters.B == _matrix ? _map : null;

    /// <summary>Describes the codes of a call.</summary>
    /// <param name="map"><see cref="Bytes"/> bytes, aligned.</param>
    /// <param name="parameters">N, KBlocks, BlockSize and B, whose codes have 4 bits.</param>
    /// <exception cref="CudaException">The driver refuses.</exception>
    public static void Describe(void* map, in CudaParams parameters) => CudaDriver.Describe(map, parameters.B, parameters.N, parameters.KBlocks * (parameters.BlockSize / 2));

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.AlignedFree(_map);
        _map = null;
    }
}
