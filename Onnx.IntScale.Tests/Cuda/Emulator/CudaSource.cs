using System.Globalization;
using System.Text.RegularExpressions;

namespace Onnx.IntScale.Tests;

/// <summary>
/// CUDA C++ as the emulator's C++: each PTX instruction becomes a call of the function of its name in ptx.h, with its operands in order, and
/// shared memory that of the thread block whose turn it is.
/// </summary>
internal static partial class CudaSource
{
    /// <summary>Translates a source or a header of the kernels.</summary>
    public static string ToCpp(string source)
    {
        // Without instructions, asm pins registers.
        source = Asm().Replace(source, m =>
        {
            string[] operands = [.. m.Groups["operand"].Captures.Select(c => c.Value)];
            var ptx = string.Concat(m.Groups["text"].Captures.Select(c => Unquote(c.Value)));
            return ptx.Length > 0 ? Statements(ptx, operands) : $"{{ {m.Value} {string.Concat(operands.Select(o => $"ptx::pin({o}); "))}}}";
        });
        source = DynamicShared().Replace(source, "$1* $2 = reinterpret_cast<$1*>(emu::dynamic_shared);");
        // Each thread block of a cluster has its own; clusters run one after the other.
        source = StaticShared().Replace(source, "static $1 $2_of[emu::kMostBlocks][$3]; auto& $2 = $2_of[emu::block->rank];");
        return source.Replace("const __grid_constant__ Params p", "const Params& p", StringComparison.Ordinal)
            .Replace("const __grid_constant__ TensorMap codes", "const TensorMap& codes", StringComparison.Ordinal);
    }

    private static string Statements(string ptx, string[] operands) =>
        string.Join(' ', ptx.Split([';', '\n'], StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(statement => Statement(statement, operands)));

    private static string Statement(string ptx, string[] operands)
    {
        if (ptx is "{" or "}") return ptx;
        if (ptx.StartsWith(".reg .pred ", StringComparison.Ordinal)) return $"bool {Name(ptx[11..])};";
        if (ptx.EndsWith(':')) return Name(ptx);
        if (Branch().Match(ptx) is { Success: true } branch) return $"if (!{Name(branch.Groups[1].Value)}) goto {Name(branch.Groups[2].Value)};";
        var (instruction, rest) = ptx.Split(' ', 2) is [var first, var second] ? (first, second) : (ptx, "");
        var values = Operand().Matches(rest).Select(m => m.Value).Where(o => o != "_").Select(o => o switch
        {
            ['%', '%', ..] => $"ptx::{o[2..]}()",
            ['%', ..] => operands[int.Parse(o[1..], CultureInfo.InvariantCulture)],
            _ when char.IsLetter(o[0]) => Name(o),
            _ => o,
        });
        return $"ptx::{NotOfNames().Replace(instruction, "_")}({string.Join(", ", values)});";
    }

    /// <summary>A name of PTX, where C++ has names of its own.</summary>
    private static string Name(string ptx) => $"ptx_{ptx}";

    private static string Unquote(string literal) => literal.Trim()[1..^1].Replace("\\n", "\n", StringComparison.Ordinal);

    // asm volatile("text" "text" : "constraint"(operand), ... : ... : "memory");
    [GeneratedRegex("""\basm(?: volatile)?\(\s*(?<text>"[^"]*"\s*)+(?:[:,\s]+|"[^"]*"\s*\((?<operand>(?>[^()]+|(?<open>\()|(?<-open>\)))*(?(open)(?!)))\)|"memory"\s*)*\);""")]
    private static partial Regex Asm();

    [GeneratedRegex(@"extern __shared__ (?:__align__\(\d+\) )?(\w+) (\w+)\[\];")]
    private static partial Regex DynamicShared();

    [GeneratedRegex(@"(?<!extern )__shared__ (\w+) (\w+)\[([^;]+)\];")]
    private static partial Regex StaticShared();

    [GeneratedRegex(@"^@!(\w+) bra (\w+)$")]
    private static partial Regex Branch();

    [GeneratedRegex(@"%?%?[\w.]+")]
    private static partial Regex Operand();

    [GeneratedRegex(@"[^A-Za-z0-9]+")]
    private static partial Regex NotOfNames();
}
