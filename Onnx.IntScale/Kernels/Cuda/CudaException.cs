namespace Onnx.IntScale;

/// <summary>CUDA failed or cannot be used; the message says what was being done, the driver's name of the error, and a remedy.</summary>
internal sealed class CudaException(string message) : Exception(message)
{
    /// <summary>The exception of a CUresult.</summary>
    public static CudaException Of(int result, string name, string doing)
    {
        var remedy = Remedy(result);
        return new($"{doing} failed ({name}){(remedy == null ? "" : "; " + remedy)}");
    }

    private static string? Remedy(int result) => result switch
    {
        2 => "free memory of the GPU, or use a smaller batch or model",
        3 or 4 => "the process is about to end, or forked after using CUDA",
        34 => "the CUDA library found is the toolkit's stub; put the NVIDIA driver's libcuda.so.1 first",
        36 => "update the NVIDIA driver",
        46 => "another process has the GPU for itself",
        100 or 101 => "check CUDA_VISIBLE_DEVICES and nvidia-smi",
        200 or 209 or 218 => "the GPU needs compute capability 8.0 or later, and a driver for CUDA 13.0 or later; update the driver, or run the model on the CPU",
        221 => "the driver's PTX compiler (libnvidia-ptxjitcompiler.so.1) is missing; install the whole driver",
        222 => "the driver is too old for these kernels; update it (CUDA 13.0 or later is sure to do), or run the model on the CPU",
        223 => "the driver may not compile kernels here; unset CUDA_DISABLE_PTX_JIT",
        700 or 710 or 716 or 717 or 718 or 719 => "a kernel failed, this operator's or one before it; the process cannot use the GPU any more",
        802 => "the system is not ready for CUDA; see whether the NVIDIA fabric manager runs",
        803 => "the driver's parts do not fit together; restart the machine after a driver update",
        >= 900 and <= 908 => "the model is being captured as a CUDA graph; run it once with the same shapes before",
        _ => null,
    };
}
