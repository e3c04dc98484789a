using Onnx.IntScale.Bench;

namespace Onnx.IntScale.Tests;

/// <summary>Turns of <see cref="PairedTimer"/>.</summary>
public sealed class PairedTimerTests
{
    [Fact]
    public void Measure_TurnsOfOneRun_AlternateThereAndBack()
    {
        var order = new List<char>();
        var times = PairedTimer.Measure([() => order.Add('a'), () => order.Add('b')], TimeSpan.Zero, TimeSpan.Zero, 1);
        Assert.Equal("ab" + "abbaabbaab", string.Concat(order));
        Assert.All(times, t => Assert.Equal(5, t.Count));
    }

    [Fact]
    public void Measure_LongTurns_CountWhatRunsAfterTheirFirstHalf()
    {
        // The first run of a turn, whatever it takes, is at its begin; slow here, so that it would show in the median.
        var (runs, last) = (0, ' ');
        void Action(char name)
        {
            Thread.Sleep(last != name && runs > 2 ? 30 : 1);
            (last, runs) = (name, runs + 1);
        }

        var times = PairedTimer.Measure([() => Action('a'), () => Action('b')], TimeSpan.Zero, TimeSpan.Zero, 1, TimeSpan.FromMilliseconds(40));
        // Turns of a round's end and the next one's begin are the same action's.
        Assert.True(runs >= 2 + (2 * 5 * 2), $"{runs} runs in 10 turns");
        Assert.All(times, t => Assert.Equal(5, t.Count));
        Assert.All(times.SelectMany(t => t), t => Assert.InRange(t, 0.0009, 0.029));
    }
}
