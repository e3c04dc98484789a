using System.Diagnostics;

namespace Onnx.IntScale.Bench;

/// <summary>
/// Times several actions in turn, A B C D, D C B A, A B C D ...: whatever else the machine does meets all of them alike, and each
/// has each neighbour before it as often as after it. Ratios are taken within a round, then their median.
/// </summary>
internal static class PairedTimer
{
    private const int MinRounds = 5;

    /// <summary>Seconds that each action took, by action and round, after a warm-up of another quarter of the budget.</summary>
    public static IReadOnlyList<IReadOnlyList<double>> Measure(IReadOnlyList<Action> actions, TimeSpan budget) => Measure(actions, budget, budget / 4, 2);

    /// <summary>The same after a warm-up of at least so long and so many rounds.</summary>
    public static IReadOnlyList<IReadOnlyList<double>> Measure(IReadOnlyList<Action> actions, TimeSpan budget, TimeSpan warmUp, int warmUpRounds)
    {
        Rounds(actions, warmUp, warmUpRounds);
        GC.Collect();
        return Rounds(actions, budget, MinRounds);
    }

    /// <summary>The middle value, or the mean of the two middle ones.</summary>
    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToList();
        return (sorted[(sorted.Count - 1) / 2] + sorted[sorted.Count / 2]) / 2;
    }

    /// <summary>Median of the ratios of what was measured in the same rounds.</summary>
    public static double MedianRatio(IReadOnlyList<double> numerators, IReadOnlyList<double> denominators) =>
        Median(numerators.Zip(denominators, (n, d) => n / d));

    private static IReadOnlyList<IReadOnlyList<double>> Rounds(IReadOnlyList<Action> actions, TimeSpan budget, int minRounds)
    {
        var times = actions.Select(_ => new List<double>()).ToList();
        var start = Stopwatch.GetTimestamp();
        for (var round = 0; round < minRounds || Stopwatch.GetElapsedTime(start) < budget; round++)
        {
            for (var turn = 0; turn < actions.Count; turn++)
            {
                var i = round % 2 == 0 ? turn : actions.Count - 1 - turn;
                var before = Stopwatch.GetTimestamp();
                actions[i]();
                times[i].Add((Stopwatch.GetTimestamp() - before) / (double)Stopwatch.Frequency);
            }
        }

        return times;
    }
}
