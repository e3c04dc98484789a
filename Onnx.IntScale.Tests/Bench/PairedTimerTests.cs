using System.Diagnostics;
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
    public void Measure_LongTurns_CountWhatBeginsInTheirSecondHalf()
    {
        // Many short runs in the first half of a turn, few long ones in the second: the median of all would be a short one.
        const int Turn = 60;
        var last = ' ';
        var start = Stopwatch.StartNew();
        void Action(char name)
        {
            if (last != name) start.Restart();
            last = name;
            Thread.Sleep(start.ElapsedMilliseconds < Turn / 2 ? 1 : 10);
        }

        var times = PairedTimer.Measure([() => Action('a'), () => Action('b')], TimeSpan.Zero, TimeSpan.Zero, 1, TimeSpan.FromMilliseconds(Turn));
        Assert.All(times, t => Assert.Equal(5, t.Count));
        // Of five turns a busy machine may upset one or two.
        Assert.All(times, t => Assert.InRange(PairedTimer.Median(t), 0.009, 0.5));
    }
}
