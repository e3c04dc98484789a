using System.CommandLine;
using Onnx.IntScale.Tool;

var root = new RootCommand("Turns FP16 ONNX LLMs into integer-scale W4A8 ones that run in ONNX Runtime, and measures what that cost.")
{
    InspectCommand.Create(),
    ConvertCommand.Create(),
    DiffCommand.Create(),
    VerifyCommand.Create(),
    KernelsCommand.Create(),
    SampleCommand.Create(),
};
return await Cli.RunAsync(root, args);
