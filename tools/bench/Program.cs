using System.CommandLine;
using Microsoft.ML.OnnxRuntime;
using Onnx.IntScale;
using Onnx.IntScale.Bench;

var root = new RootCommand("Measures com.intscale::MatMulNBitsIntScale against ONNX Runtime's own operators, in one process and in turn.")
{
    CpuCommand.Create(),
    CudaCommand.Create(),
    CudaKernelCommand.Create(),
    CudaModelCommand.Create(),
    CheckCommand.Create(),
    TwinCommand.Create(),
    ModelCommand.Create(),
    ModelCommand.CreateProbe(),
    WriteModelCommand.Create(),
};
try
{
    var parsed = root.Parse(args);
    foreach (var error in parsed.Errors) Console.Error.WriteLine($"error: {error.Message}");
    return parsed.Errors.Count > 0 ? 2 : parsed.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
}
catch (Exception e) when (e is BenchException or ModelException or OrtException or OnnxRuntimeException or CudaException)
{
    Console.Error.WriteLine($"error: {e.Message.ReplaceLineEndings(" ")}");
    return 2;
}
