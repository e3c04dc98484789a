using System.CommandLine;

namespace Onnx.IntScale.Bench;

/// <summary><c>bench twin</c>.</summary>
internal static class TwinCommand
{
    public static Command Create()
    {
        var shapes = new Option<string>("--shapes") { Description = "Weight matrices as KxN, with commas between.", DefaultValueFactory = _ => "4096x4096" };
        var m = new Option<string>("--m") { Description = "Rows of activations (tokens), with commas between.", DefaultValueFactory = _ => "32,128,512" };
        var blocks = new Option<string>("--blocks") { Description = "Weights that share a scale, with commas between.", DefaultValueFactory = _ => "32,64,128,256" };
        var seconds = new Option<double>("--seconds") { Description = "Seconds for each kernel at each shape, M and block size.", DefaultValueFactory = _ => 1 };
        var command = new Command("twin", """
            Times the dot products of the avx512vnni-panel kernel against a twin that multiplies by float group scales, on one thread.

            Example:
              bench twin --shapes 4096x4096 --m 32,512 --blocks 32,128
            """)
        {
            shapes, m, blocks, seconds,
        };
        command.SetAction(parsed =>
        {
            var rows = new List<TwinRow>();
            foreach (var text in CpuCommand.Parts("--shapes", parsed.GetValue(shapes)!))
            {
                foreach (var block in CpuCommand.Numbers("--blocks", parsed.GetValue(blocks)!))
                    rows.AddRange(CpuCommand.Numbers("--m", parsed.GetValue(m)!).Select(rowsOfA => TwinBench.Run(CpuCommand.Shape(text, 4, block), rowsOfA, parsed.GetValue(seconds))));
            }

            var cells = rows.Select(r => new[]
            {
                $"{r.Shape.K} x {r.Shape.N}", $"{r.Shape.BlockSize}", $"{r.M}", Text.F($"{r.IntegerUs:F0}"), Text.F($"{r.FloatUs:F0}"), Text.F($"{r.Ratio:F2}"),
            });
            foreach (var line in Text.Table(["K x N", "block", "M", "integer scales µs", "float scales µs", "float / integer"], cells)) Console.WriteLine(line);
            return 0;
        });
        return command;
    }
}
