using System.Text.Json;
using System.Text.Json.Serialization;

namespace Onnx.IntScale;

/// <summary>How a converted model compares with its reference on the same tokens.</summary>
/// <param name="Tokens">Positions compared.</param>
/// <param name="Windows">Windows run.</param>
/// <param name="WindowLength">Tokens of a window.</param>
/// <param name="Reference">The reference.</param>
/// <param name="Converted">The converted model.</param>
/// <param name="PerplexityRatio">converted / reference.</param>
/// <param name="Kl">KL(reference || converted) over the positions, in nats.</param>
/// <param name="Top1Agreement">Share of positions where both prefer the same token.</param>
/// <param name="Logits">Errors of the logits.</param>
/// <param name="Layers">Each rewritten layer in graph order; empty where layers were not measured or none is rewritten.</param>
public sealed record DiffReport(
    int Tokens, int Windows, int WindowLength, ModelSummary Reference, ModelSummary Converted, double PerplexityRatio,
    KlSummary Kl, double Top1Agreement, LogitsSummary Logits, IReadOnlyList<LayerDiff> Layers)
{
    /// <summary>The layer with the least local SQNR, or null where none was measured.</summary>
    [JsonIgnore]
    public LayerDiff? WorstLocal => Layers.Where(l => l.LocalSqnrDb != null).MinBy(l => l.LocalSqnrDb);

    /// <summary>The layer with the least accumulated SQNR, or null where none was measured.</summary>
    [JsonIgnore]
    public LayerDiff? WorstAccumulated => Layers.Where(l => l.AccumulatedSqnrDb != null).MinBy(l => l.AccumulatedSqnrDb);

    /// <summary>The report as indented JSON with snake_case keys.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, DiffReportJson.Default.DiffReport);
}

/// <summary>One model of a diff.</summary>
/// <param name="Path">Its .onnx file.</param>
/// <param name="Perplexity">exp of the mean -ln p(next token).</param>
public sealed record ModelSummary(string Path, double Perplexity);

/// <summary>Divergence over the positions, in nats.</summary>
/// <param name="Mean">Mean.</param>
/// <param name="Median">Median.</param>
/// <param name="P99">99 % of positions are below.</param>
/// <param name="Max">Largest.</param>
public sealed record KlSummary(double Mean, double Median, double P99, double Max);

/// <summary>Errors of the logits over all positions and tokens.</summary>
/// <param name="MaxAbsError">Largest |difference|.</param>
/// <param name="MeanAbsError">Mean |difference|.</param>
/// <param name="Cosine">Cosine of the angle between all logits of the one and of the other.</param>
public sealed record LogitsSummary(double MaxAbsError, double MeanAbsError, double Cosine);

/// <summary>
/// One rewritten layer's output against the reference's. Local: the layer is fed the reference's activations, so the error is its own.
/// Accumulated: as the converted model runs, so the error holds that of all layers before it. Null: not measured, or without
/// a finite value. An SQNR is capped at ±<see cref="MaxSqnrDb"/>, which stands for "no error at all", since JSON has no infinity.
/// </summary>
/// <param name="Name">Node name.</param>
/// <param name="LocalSqnrDb">Signal to noise ratio in dB.</param>
/// <param name="AccumulatedSqnrDb">Signal to noise ratio in dB.</param>
/// <param name="LocalRelativeError">||Y - Yref|| / ||Yref||.</param>
/// <param name="AccumulatedRelativeError">||Y - Yref|| / ||Yref||.</param>
public sealed record LayerDiff(string Name, double? LocalSqnrDb, double? AccumulatedSqnrDb, double? LocalRelativeError, double? AccumulatedRelativeError)
{
    /// <summary>What an infinite SQNR is reported as.</summary>
    public const double MaxSqnrDb = 999;

    /// <summary>Why the layer could not be measured, or null where it was.</summary>
    [JsonIgnore]
    public string? Note { get; init; }

    /// <summary>A measured layer.</summary>
    public static LayerDiff Of(string name, ErrorSum local, ErrorSum accumulated) =>
        new(name, Decibel(local), Decibel(accumulated), Finite(local.Relative), Finite(accumulated.Relative));

    private static double? Decibel(ErrorSum sum) => double.IsNaN(sum.SqnrDb) ? null : Math.Clamp(sum.SqnrDb, -MaxSqnrDb, MaxSqnrDb);

    private static double? Finite(double value) => double.IsFinite(value) ? value : null;
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true, Converters = [typeof(FiniteNumberConverter)])]
[JsonSerializable(typeof(DiffReport))]
internal sealed partial class DiffReportJson : JsonSerializerContext;
