using System.Diagnostics;
using System.Globalization;

namespace Onnx.IntScale.Bench;

/// <summary>
/// How many cores other processes kept busy meanwhile: what the whole machine used (/proc/stat) less what this process did.
/// Timings of as many threads as there are cores mean little when it is not close to 0. NaN where there is no /proc/stat.
/// </summary>
internal sealed class OtherLoad
{
    /// <summary>Cores of others that a timing does not notice.</summary>
    public const double Quiet = 0.1;

    private const double TicksPerSecond = 100;

    private readonly long _start = Stopwatch.GetTimestamp();
    private readonly double _before = BusyElsewhere();

    /// <summary>Cores, on average since this was made.</summary>
    public double Cores() => Math.Max(0, (BusyElsewhere() - _before) / Stopwatch.GetElapsedTime(_start).TotalSeconds);

    /// <summary>Sleeps until a second goes by in which other processes leave the machine alone, or until the deadline (UTC).</summary>
    public static void WaitForQuiet(DateTime deadline)
    {
        while (DateTime.UtcNow < deadline)
        {
            var sample = new OtherLoad();
            Thread.Sleep(1000);
            if (!(sample.Cores() > Quiet)) return;
        }
    }

    /// <summary>Seconds of processor time that other processes have used so far.</summary>
    private static double BusyElsewhere()
    {
        if (!File.Exists("/proc/stat")) return double.NaN;
        // cpu user nice system idle iowait irq softirq steal ...
        var ticks = File.ReadLines("/proc/stat").First().Split(' ', StringSplitOptions.RemoveEmptyEntries).Skip(1).Take(8)
            .Select(t => long.Parse(t, CultureInfo.InvariantCulture)).ToArray();
        var busy = ticks.Sum() - ticks[3] - ticks[4];
        using var self = Process.GetCurrentProcess();
        return (busy / TicksPerSecond) - self.TotalProcessorTime.TotalSeconds;
    }
}
