namespace Onnx.IntScale;

/// <summary>Operator names, domains and attribute names, in one place.</summary>
public static class Ops
{
    /// <summary>Our operator's domain.</summary>
    public const string Domain = OpSchema.Domain;

    /// <summary>Version of the domain that models import.</summary>
    public const long DomainVersion = OpSchema.Version;

    /// <summary>Our operator.</summary>
    public const string MatMulNBitsIntScale = OpSchema.OpType;

    /// <summary>ONNX Runtime's contributed operators.</summary>
    public const string MicrosoftDomain = "com.microsoft";

    /// <summary>Whether a node is our operator.</summary>
    public static bool IsIntScale(NodeProto node) => node.OpType == MatMulNBitsIntScale && node.Domain == Domain;

    /// <summary>Whether a node is the standard operator of that name.</summary>
    public static bool IsStandard(NodeProto node, string opType) => node.OpType == opType && (node.Domain is "" or "ai.onnx");

    /// <summary>What reports call a node: its name, or its first output where it has none.</summary>
    public static string NameOf(NodeProto node) => node.Name.Length > 0 ? node.Name : node.Output.FirstOrDefault(o => o.Length > 0) ?? node.OpType;

    /// <summary>An integer attribute's value, or null where the node lacks it.</summary>
    public static long? Int(NodeProto node, string attribute) => node.Attribute.FirstOrDefault(a => a.Name == attribute) is { HasI: true } a ? a.I : null;

    /// <summary>An integer attribute.</summary>
    public static AttributeProto Attribute(string name, long value) => new() { Name = name, Type = AttributeProto.Types.AttributeType.Int, I = value };
}
