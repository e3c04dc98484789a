using System.Reflection;
using System.Text.RegularExpressions;

namespace Onnx.IntScale.Tests;

/// <summary>The indices of the C-API slots are those of the header that the ONNX Runtime package brings.</summary>
public class OrtSlotTests
{
    [Fact]
    public void EverySlot_IsWhereTheHeaderHasIt()
    {
        var names = SlotNames(File.ReadAllText(Path.Combine(NativeLibraryFile.OrtHeaders, "onnxruntime_c_api.h")));
        var slots = typeof(IntScaleOps).Assembly.GetType("Onnx.IntScale.OrtSlot")!.GetFields(BindingFlags.Public | BindingFlags.Static);
        Assert.NotEmpty(slots);
        foreach (var slot in slots) Assert.Equal($"{slot.Name} {names.IndexOf(slot.Name)}", $"{slot.Name} {slot.GetRawConstantValue()}");
    }

    /// <summary>The names of struct OrtApi's members in order: each declaration is a macro with the name inside, or a plain function pointer.</summary>
    private static List<string> SlotNames(string header)
    {
        var code = Regex.Replace(header, @"/\*.*?\*/|//[^\n]*|^\s*#[^\n]*", "", RegexOptions.Singleline | RegexOptions.Multiline);
        var start = code.IndexOf('{', code.IndexOf("struct OrtApi {", StringComparison.Ordinal)) + 1;
        var end = start;
        for (var depth = 1; depth > 0; end++) depth += code[end] == '{' ? 1 : code[end] == '}' ? -1 : 0;
        return code[start..(end - 1)].Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(NameOf).ToList();
    }

    private static string NameOf(string declaration)
    {
        var match = Regex.Match(declaration, @"^ORT_API2_STATUS\((\w+)|^ORT_CLASS_(RELEASE)2?\((\w+)|^ORT_API_T\([^,]*,\s*(\w+)|ORT_API_CALL\s*\*\s*(\w+)\s*\)");
        Assert.True(match.Success, $"not understood: {declaration}");
        var name = string.Concat(match.Groups.Values.Skip(1).Where(g => g.Name != "2").Select(g => g.Value));
        return match.Groups[2].Success ? "Release" + name : name;
    }
}
