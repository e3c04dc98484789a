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

    /// <summary>The same after a warm-up of at least so long and so many rounds, and in turns of at least so long.</summary>
    /// <param name="actions">What takes turns.</param>
    /// <param name="budget">How long to measure, at least.</param>
    /// <param name="warmUp">How long to warm up, at least.</param>
    /// <param name="warmUpRounds">Rounds of the warm-up, at least.</param>
    /// <param name="turn">
    /// How long an action runs again and again before the next one's turn: its time is the median over the second half. A GPU's clocks
    /// follow what it ran just before, so that in turns of one short run all actions have the clocks of their mixture.
    /// </param>
    public static IReadOnlyList<IReadOnlyList<double>> Measure(IReadOnlyList<Action> actions, TimeSpan budget, TimeSpan warmUp, int warmUpRounds, TimeSpan turn = default)
    {
        Rounds(actions, warmUp, warmUpRounds, TimeSpan.Zero);
        GC.Collect();
        return Rounds(actions, budget, MinRounds, turn);
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

    private static IReadOnlyList<IReadOnlyList<double>> Rounds(IReadOnlyList<Action> actions, TimeSpan budget, int minRounds, TimeSpan turn)
    {
        var times = actions.Select(_ => new List<double>()).ToList();
        var start = Stopwatch.GetTimestamp();
        for (var round = 0; round < minRounds || Stopwatch.GetElapsedTime(start) < budget; round++)
        {
            for (var place = 0; place < actions.Count; place++)
            {
                var i = round % 2 == 0 ? place : actions.Count - 1 - place;
                times[i].Add(Turn(actions[i], turn));
            }
        }

        return times;
    }

    private static double Turn(Action action, TimeSpan turn)
    {
        var start = Stopwatch.GetTimestamp();
        var times = new List<double>();
        while (true)
        {
            var before = Stopwatch.GetTimestamp();
            action();
            var after = Stopwatch.GetTimestamp();
            if (Stopwatch.GetElapsedTime(start, before) >= turn / 2) times.Add((after - before) / (double)Stopwatch.Frequency);
            if (times.Count > 0 && Stopwatch.GetElapsedTime(start, after) >= turn) return Median(times);
        }
    }
}
