using System.CommandLine;

namespace Onnx.IntScale.Tool;

/// <summary><c>intscale inspect MODEL</c>.</summary>
internal static class InspectCommand
{
    public static Command Create()
    {
        var model = new Argument<string>("MODEL") { Description = "A .onnx file, or a folder with model.onnx." };
        var json = Cli.Json();
        var command = new Command("inspect", """
            Says what a model is made of: inputs, outputs, operators, linear layers and what keeps others from being one.

            Example:
              intscale inspect models/classics-13m
            """)
        {
            model, json,
        };
        command.SetAction(parsed => Run(parsed.GetValue(model)!, parsed.GetValue(json)));
        return command;
    }

    private static int Run(string path, bool json)
    {
        var i = ModelInspection.Of(path);
        if (json)
        {
            Cli.WriteJson(i);
            return Cli.Done;
        }

        Console.WriteLine($"{i.Path}: {Cli.Bytes(i.Bytes)}, IR version {i.IrVersion}, opset {string.Join(", ", i.Opsets)}, made by {(i.Producer.Length > 0 ? i.Producer : "(not said)")}");
        var values = Cli.Table("value", "kind", "type");
        foreach (var v in i.Inputs) values.AddPlainRow(v.Name, "input", v.Type);
        foreach (var v in i.Outputs) values.AddPlainRow(v.Name, "output", v.Type);
        Cli.Print(values);
        var ops = Cli.Table("operator", "nodes");
        foreach (var (name, count) in i.Operators) ops.AddPlainRow(name, $"{count}");
        Cli.Print(ops);
        if (i.Layers.Count > 0)
        {
            var layers = Cli.Table("linear layer", "K x N", "type", "bytes");
            foreach (var l in i.Layers) layers.AddPlainRow(l.Name, $"{l.K} x {l.N}", l.Type, Cli.Bytes(l.Bytes));
            Cli.Print(layers);
        }

        if (i.Converted.Count > 0)
        {
            var converted = Cli.Table("integer-scale layer", "K x N", "bits", "block_size", "max_accumulator");
            foreach (var l in i.Converted) converted.AddPlainRow(l.Name, $"{l.K} x {l.N}", $"{l.Bits}", $"{l.BlockSize}", $"{l.MaxAccumulator}");
            Cli.Print(converted);
        }

        foreach (var s in i.Skipped) Console.WriteLine($"no linear layer: {s.Name}: {s.Reason}");
        Console.WriteLine($"{i.Layers.Count} linear layers to convert ({Cli.Bytes(i.Layers.Sum(l => l.Bytes))}), {i.Converted.Count} converted, {i.Skipped.Count} other matrix products.");
        return Cli.Done;
    }
}
