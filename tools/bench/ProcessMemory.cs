using System.Diagnostics;
using System.Globalization;

namespace Onnx.IntScale.Bench;

/// <summary>Memory of this process in MiB. On Linux what is mapped from files (weights that ONNX Runtime maps) counts too, and is told apart.</summary>
/// <param name="Peak">Largest resident set so far.</param>
/// <param name="Resident">Resident set now.</param>
/// <param name="Mapped">Of that, pages of files, which the system can drop; 0 where it does not tell.</param>
internal sealed record ProcessMemory(double Peak, double Resident, double Mapped)
{
    private const string Status = "/proc/self/status";

    /// <summary>Reads it.</summary>
    public static ProcessMemory Now()
    {
        if (!File.Exists(Status))
        {
            using var self = Process.GetCurrentProcess();
            return new(self.PeakWorkingSet64 / 1048576.0, self.WorkingSet64 / 1048576.0, 0);
        }

        var lines = File.ReadAllLines(Status);
        return new(Kib("VmHWM:") / 1024, Kib("VmRSS:") / 1024, Kib("RssFile:") / 1024);
        double Kib(string key) => lines.FirstOrDefault(l => l.StartsWith(key, StringComparison.Ordinal)) is { } line
            ? double.Parse(line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture)
            : 0;
    }

    /// <summary>MiB that programs can still have; of the whole machine where the system does not tell.</summary>
    public static double Available()
    {
        const string Key = "MemAvailable:";
        var line = File.Exists("/proc/meminfo") ? File.ReadLines("/proc/meminfo").FirstOrDefault(l => l.StartsWith(Key, StringComparison.Ordinal)) : null;
        return line == null
            ? GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 1048576.0
            : double.Parse(line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) / 1024;
    }
}
