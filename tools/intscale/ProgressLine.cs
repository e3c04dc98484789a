using System.Diagnostics;
using Spectre.Console;

namespace Onnx.IntScale.Tool;

/// <summary>
/// Progress on stderr: a bar where stderr is a terminal, plain lines every few seconds where it is not, and nothing
/// in the first second, so that short work stays quiet.
/// </summary>
internal static class ProgressLine
{
    private static readonly TimeSpan Quiet = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Between = TimeSpan.FromSeconds(5);

    /// <summary>Runs work that reports (step, fraction done).</summary>
    public static T Run<T>(string title, Func<Action<string, double>, T> work)
    {
        if (Console.IsErrorRedirected) return work(Lines(title));
        T result = default!;
        Cli.Error.Progress().AutoClear(true).HideCompleted(true)
            .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn())
            .Start(context =>
            {
                var task = context.AddTask(Markup.Escape(title), maxValue: 1);
                result = work((step, fraction) =>
                {
                    task.Description = Markup.Escape(step.Length > 48 ? "…" + step[^47..] : step);
                    task.Value = fraction;
                });
            });
        return result;
    }

    private static Action<string, double> Lines(string title)
    {
        var clock = Stopwatch.StartNew();
        var next = Quiet;
        return (step, fraction) =>
        {
            lock (clock)
            {
                if (clock.Elapsed < next) return;
                next = clock.Elapsed + Between;
                Console.Error.WriteLine($"{title}: {100 * fraction:F0} % ({step})");
            }
        };
    }
}
