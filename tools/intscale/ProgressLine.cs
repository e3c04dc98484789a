using Spectre.Console;

namespace Onnx.IntScale.Tool;

/// <summary>
/// Progress on stderr: a bar where stderr is a terminal, plain lines every few seconds where it is not, also while one
/// step goes on for long, and nothing in the first second, so that short work stays quiet.
/// </summary>
internal static class ProgressLine
{
    private static readonly TimeSpan Quiet = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Between = TimeSpan.FromSeconds(5);

    /// <summary>Runs work that reports (step, fraction done).</summary>
    public static T Run<T>(string title, Func<Action<string, double>, T> work)
    {
        if (Console.IsErrorRedirected) return RunPlain(title, work, Console.Error, Quiet, Between);
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

    /// <summary>The plain lines: the step last reported, by the clock and not by the reports, of which a long step makes none.</summary>
    public static T RunPlain<T>(string title, Func<Action<string, double>, T> work, TextWriter lines, TimeSpan quiet, TimeSpan between)
    {
        var last = Tuple.Create("starting", 0.0);
        using var ended = new ManualResetEventSlim();
        // A thread of its own: the pool's may all be busy with the work.
        var clock = new Thread(() =>
        {
            for (var wait = quiet; !ended.Wait(wait); wait = between) lines.WriteLine($"{title}: {100 * last.Item2:F0} % ({last.Item1})");
        });
        clock.IsBackground = true;
        clock.Start();
        try
        {
            return work((step, fraction) => last = Tuple.Create(step, fraction));
        }
        finally
        {
            // No line may come between the results.
            ended.Set();
            clock.Join();
        }
    }
}
