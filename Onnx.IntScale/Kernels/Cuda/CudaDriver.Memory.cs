namespace Onnx.IntScale;

/// <summary>Memory, streams, events, graphs.</summary>
internal static unsafe partial class CudaDriver
{
    private const int PointerDeviceOrdinal = 9;
    private const int NonBlocking = 1;
    private const int ThreadLocalCapture = 1;

    private static readonly delegate* unmanaged<void*, int, nint, int> PointerGetAttribute = (delegate* unmanaged<void*, int, nint, int>)Export("cuPointerGetAttribute");
    private static readonly delegate* unmanaged<nuint*, nuint*, int> MemGetInfo = (delegate* unmanaged<nuint*, nuint*, int>)Export("cuMemGetInfo_v2");
    private static readonly delegate* unmanaged<nint*, nuint, int> MemAlloc = (delegate* unmanaged<nint*, nuint, int>)Export("cuMemAlloc_v2");
    private static readonly delegate* unmanaged<nint, int> MemFree = (delegate* unmanaged<nint, int>)Export("cuMemFree_v2");
    private static readonly delegate* unmanaged<nint, void*, nuint, int> MemcpyHtoD = (delegate* unmanaged<nint, void*, nuint, int>)Export("cuMemcpyHtoD_v2");
    private static readonly delegate* unmanaged<void*, nint, nuint, int> MemcpyDtoH = (delegate* unmanaged<void*, nint, nuint, int>)Export("cuMemcpyDtoH_v2");
    private static readonly delegate* unmanaged<void*, nint, nuint, nint, int> MemcpyDtoHAsync = (delegate* unmanaged<void*, nint, nuint, nint, int>)Export("cuMemcpyDtoHAsync_v2");
    private static readonly delegate* unmanaged<nint, byte, nuint, nint, int> MemsetD8Async = (delegate* unmanaged<nint, byte, nuint, nint, int>)Export("cuMemsetD8Async");
    private static readonly delegate* unmanaged<nint, uint, nuint, nint, int> MemsetD32Async = (delegate* unmanaged<nint, uint, nuint, nint, int>)Export("cuMemsetD32Async");
    private static readonly delegate* unmanaged<nint*, uint, int> StreamCreate = (delegate* unmanaged<nint*, uint, int>)Export("cuStreamCreate");
    private static readonly delegate* unmanaged<nint, int> StreamDestroy = (delegate* unmanaged<nint, int>)Export("cuStreamDestroy_v2");
    private static readonly delegate* unmanaged<nint, int> StreamSynchronize = (delegate* unmanaged<nint, int>)Export("cuStreamSynchronize");
    private static readonly delegate* unmanaged<nint*, uint, int> EventCreate = (delegate* unmanaged<nint*, uint, int>)Export("cuEventCreate");
    private static readonly delegate* unmanaged<nint, nint, int> EventRecord = (delegate* unmanaged<nint, nint, int>)Export("cuEventRecord");
    private static readonly delegate* unmanaged<nint, int> EventSynchronize = (delegate* unmanaged<nint, int>)Export("cuEventSynchronize");
    private static readonly delegate* unmanaged<float*, nint, nint, int> EventElapsedTime = (delegate* unmanaged<float*, nint, nint, int>)Export("cuEventElapsedTime");
    private static readonly delegate* unmanaged<nint, int> EventDestroy = (delegate* unmanaged<nint, int>)Export("cuEventDestroy_v2");
    private static readonly delegate* unmanaged<nint, int, int> StreamBeginCapture = (delegate* unmanaged<nint, int, int>)Export("cuStreamBeginCapture_v2");
    private static readonly delegate* unmanaged<nint, nint*, int> StreamEndCapture = (delegate* unmanaged<nint, nint*, int>)Export("cuStreamEndCapture");

    private static readonly delegate* unmanaged<nint*, nint, ulong, int> GraphInstantiate =
        (delegate* unmanaged<nint*, nint, ulong, int>)Export("cuGraphInstantiateWithFlags");

    private static readonly delegate* unmanaged<nint, nint, int> GraphLaunch = (delegate* unmanaged<nint, nint, int>)Export("cuGraphLaunch");
    private static readonly delegate* unmanaged<nint, int> GraphDestroy = (delegate* unmanaged<nint, int>)Export("cuGraphDestroy");
    private static readonly delegate* unmanaged<nint, int> GraphExecDestroy = (delegate* unmanaged<nint, int>)Export("cuGraphExecDestroy");

    /// <summary>The ordinal of the device that memory belongs to; null for memory that CUDA does not know.</summary>
    public static int? DeviceOf(void* address)
    {
        int ordinal;
        return PointerGetAttribute(&ordinal, PointerDeviceOrdinal, (nint)address) == 0 && ordinal >= 0 ? ordinal : null;
    }

    /// <summary>Bytes of memory of the current context's device: those that nobody uses, and all.</summary>
    public static (long Free, long Total) MemoryInfo()
    {
        nuint free, total;
        Check(MemGetInfo(&free, &total), "asking for free memory of the device");
        return ((long)free, (long)total);
    }

    public static nint Alloc(long bytes)
    {
        nint address;
        Check(MemAlloc(&address, (nuint)Math.Max(bytes, 1)), $"allocating {bytes} bytes on the device");
        return address;
    }

    public static void Free(nint address) => Check(MemFree(address), "freeing device memory");

    /// <summary>Copies host memory to the device; returns when it is there, for streams that do not wait for the legacy default one too.</summary>
    public static void CopyToDevice(nint target, void* source, long bytes)
    {
        Check(MemcpyHtoD(target, source, (nuint)bytes), "copying to the device");
        // From pageable memory the copy itself may only have begun.
        Synchronize(0);
    }

    /// <summary>Copies device memory to the host; returns when it is there.</summary>
    public static void CopyToHost(void* target, nint source, long bytes) => Check(MemcpyDtoH(target, source, (nuint)bytes), "copying from the device");

    public static void CopyToHost(void* target, nint source, long bytes, nint stream) =>
        Check(MemcpyDtoHAsync(target, source, (nuint)bytes, stream), "copying from the device");

    public static void Fill(nint target, byte value, long bytes, nint stream) => Check(MemsetD8Async(target, value, (nuint)bytes, stream), "filling device memory");

    public static void FillWords(nint target, uint value, long words, nint stream) => Check(MemsetD32Async(target, value, (nuint)words, stream), "filling device memory");

    /// <summary>A stream that does not wait for the legacy default one.</summary>
    public static nint CreateStream()
    {
        nint stream;
        Check(StreamCreate(&stream, NonBlocking), "making a stream");
        return stream;
    }

    public static void DestroyStream(nint stream) => Check(StreamDestroy(stream), "destroying a stream");

    /// <summary>Waits for all work of a stream; a kernel's failure shows here.</summary>
    public static void Synchronize(nint stream) => Check(StreamSynchronize(stream), "waiting for the device");

    public static nint CreateEvent()
    {
        nint made;
        Check(EventCreate(&made, 0), "making an event");
        return made;
    }

    public static void Record(nint recorded, nint stream) => Check(EventRecord(recorded, stream), "recording an event");

    public static void SynchronizeEvent(nint recorded) => Check(EventSynchronize(recorded), "waiting for the device");

    /// <summary>Milliseconds between two events that have happened.</summary>
    public static float Milliseconds(nint start, nint end)
    {
        float time;
        Check(EventElapsedTime(&time, start, end), "reading a time");
        return time;
    }

    public static void DestroyEvent(nint destroyed) => Check(EventDestroy(destroyed), "destroying an event");

    /// <summary>What is launched on the stream from here on becomes a graph instead of running.</summary>
    public static void BeginCapture(nint stream) => Check(StreamBeginCapture(stream, ThreadLocalCapture), "beginning a capture");

    /// <summary>Ends a capture; returns the executable graph.</summary>
    public static nint EndCapture(nint stream)
    {
        nint graph, executable;
        Check(StreamEndCapture(stream, &graph), "ending a capture");
        try
        {
            Check(GraphInstantiate(&executable, graph, 0), "making a graph");
            return executable;
        }
        finally
        {
            _ = GraphDestroy(graph);
        }
    }

    public static void LaunchGraph(nint graph, nint stream) => Check(GraphLaunch(graph, stream), "launching a graph");

    public static void DestroyGraph(nint graph) => Check(GraphExecDestroy(graph), "destroying a graph");
}
