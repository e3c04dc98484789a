using System.CommandLine;

namespace Onnx.IntScale.Tool;

/// <summary><c>intscale verify MODEL</c>.</summary>
internal static class VerifyCommand
{
    public static Command Create()
    {
        var model = new Argument<string>("MODEL") { Description = "A converted .onnx file, or a folder with model.onnx." };
        var json = Cli.Json();
        var command = new Command("verify", """
            Recomputes every overflow certificate from the stored weights and compares it with the one on the node.

            Example:
              intscale verify out/classics-13m-int4
            """)
        {
            model, json,
        };
        command.SetAction(parsed => Run(parsed.GetValue(model)!, parsed.GetValue(json)));
        return command;
    }

    private static int Run(string path, bool json)
    {
        var layers = ProgressLine.Run("verifying", report => Verifier.Verify(path, (done, total, name) => report(name, done / (double)total)));
        if (layers.Count == 0) throw new ModelException(path, "holds no MatMulNBitsIntScale node, so there is nothing to verify", "give a converted model");
        if (json)
        {
            Cli.WriteJson(new { model = path, ok = layers.All(l => l.Fault == null), layers });
        }
        else
        {
            var table = Cli.Table("layer", "K x N", "declared", "recomputed", "verdict");
            foreach (var l in layers) table.AddPlainRow(l.Name, $"{l.K} x {l.N}", $"{l.Declared?.ToString() ?? "none"}", $"{l.Computed}", l.Fault ?? "holds");
            Cli.Print(table);
            if (layers.All(l => l.Fault == null)) Console.WriteLine($"{layers.Count} of {layers.Count} certificates hold: no activation can overflow int32.");
        }

        var wrong = layers.Count(l => l.Fault != null);
        if (wrong > 0) throw new ModelException(path, $"{wrong} of {layers.Count} certificates do not hold (first: node '{layers.First(l => l.Fault != null).Name}')", "convert the model again");
        return Cli.Done;
    }
}
