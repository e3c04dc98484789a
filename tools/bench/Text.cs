using System.Globalization;

namespace Onnx.IntScale.Bench;

/// <summary>Text that looks the same on every machine.</summary>
internal static class Text
{
    /// <summary>Formats with a point, whatever the user's language.</summary>
    public static string F(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    /// <summary>A markdown table; columns of numbers are right-aligned.</summary>
    public static IEnumerable<string> Table(string[] header, IEnumerable<string[]> rows)
    {
        string[][] all = [header, .. rows];
        var widths = header.Select((_, i) => Math.Max(3, all.Max(r => r[i].Length))).ToArray();
        var numbers = header.Select((_, i) => double.TryParse(all[^1][i], CultureInfo.InvariantCulture, out var _)).ToArray();
        yield return Line(Padded(header));
        yield return Line(widths.Select((w, i) => numbers[i] ? new string('-', w - 1) + ":" : new string('-', w)));
        foreach (var row in all.Skip(1)) yield return Line(Padded(row));
        string Line(IEnumerable<string> cells) => $"| {string.Join(" | ", cells)} |";
        IEnumerable<string> Padded(string[] row) => row.Select((cell, i) => numbers[i] ? cell.PadLeft(widths[i]) : cell.PadRight(widths[i]));
    }
}
