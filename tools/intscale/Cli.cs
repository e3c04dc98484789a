using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Text.Json;
using Spectre.Console;

namespace Onnx.IntScale.Tool;

/// <summary>What the commands share: exit codes, one-line errors, JSON, number formats.</summary>
internal static class Cli
{
    public const int Done = 0;
    public const int Refused = 1;
    public const int BadInput = 2;

    /// <summary>As shells count a program that Ctrl-C ended: 128 + SIGINT.</summary>
    public const int Stopped = 130;

    /// <summary>How long a stopped command may take to delete what it has written, before it is ended by force.</summary>
    private static readonly TimeSpan CleanUpTime = TimeSpan.FromMinutes(1);

    /// <summary>Results go to stdout, progress and logs to stderr.</summary>
    public static readonly IAnsiConsole Error = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });

    private static readonly JsonSerializerOptions JsonOptions = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        WriteIndented = true,
        Converters = { new FiniteNumberConverter() },
    };

    /// <summary>Option shared by every command.</summary>
    public static Option<bool> Json() => new("--json") { Description = "Machine-readable result on stdout; progress and logs stay on stderr." };

    /// <summary>Runs a command line. Faults of input become one line on stderr and exit code 2; nobody sees a stack trace.</summary>
    public static async Task<int> RunAsync(RootCommand root, string[] args)
    {
        CultureInfo.DefaultThreadCurrentCulture = CultureInfo.InvariantCulture;
        var parsed = root.Parse(args);
        if (parsed.Errors.Count > 0)
        {
            // Of several, the one about a word that was typed says most; "command was not provided" follows from it.
            var error = parsed.Errors.FirstOrDefault(e => e.Message.Contains('\'')) ?? parsed.Errors[0];
            Console.Error.WriteLine($"error: {string.Join(' ', error.Message.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))}");
            Console.Error.WriteLine($"Type '{Invocation.Of([.. CommandPath(parsed), "--help"])}' for usage.");
            return BadInput;
        }

        try
        {
            return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = CleanUpTime });
        }
        catch (Exception e)
        {
            var (code, message) = Explain(e);
            Console.Error.WriteLine($"error: {message.ReplaceLineEndings(" ")}");
            return code;
        }
    }

    /// <summary>What an exception that ended a command is to the user: exit code and one line.</summary>
    public static (int Code, string Message) Explain(Exception e) => e switch
    {
        OperationCanceledException => (Stopped, "stopped; nothing was written"),
        ModelException or OrtException or CudaException => (BadInput, e.Message),
        IOException or UnauthorizedAccessException => (BadInput, $"{e.Message.TrimEnd('.')}; check free space and permissions"),
        OutOfMemoryException => (BadInput, "out of memory; close other programs or convert on a larger machine"),
        TypeInitializationException { InnerException: ArgumentException fault } => (BadInput, fault.Message),
        DllNotFoundException or TypeInitializationException { InnerException: DllNotFoundException } =>
            (BadInput, $"ONNX Runtime's native library cannot be loaded ({(e.InnerException ?? e).Message}); build the tool again for this machine"),
        _ => (BadInput, $"{e.Message} (a defect of intscale: {e.GetType().Name}; please report it with the command you typed)"),
    };

    /// <summary>An option that takes a number.</summary>
    public static Option<T> Number<T>(string name, string description, T fallback)
        where T : struct, ISpanParsable<T> =>
        new(name) { Description = description, DefaultValueFactory = _ => fallback, CustomParser = a => Parse<T>(name, a) ?? default };

    /// <summary>An option that takes a number and has no default.</summary>
    public static Option<T?> OptionalNumber<T>(string name, string description)
        where T : struct, ISpanParsable<T> =>
        new(name) { Description = description, CustomParser = a => Parse<T>(name, a) };

    private static T? Parse<T>(string name, ArgumentResult argument)
        where T : struct, ISpanParsable<T>
    {
        var text = argument.Tokens[^1].Value;
        if (T.TryParse(text, CultureInfo.InvariantCulture, out var value)) return value;
        argument.AddError($"{name} takes a {(typeof(T) == typeof(double) ? "number" : "whole number")}, not '{text}'.");
        return null;
    }

    /// <summary>Writes a result as JSON with snake_case keys to stdout.</summary>
    public static void WriteJson<T>(T value) => Console.Out.WriteLine(JsonSerializer.Serialize(value, JsonOptions));

    /// <summary>"1.23 MiB".</summary>
    public static string Bytes(long bytes) => bytes switch
    {
        < 1 << 10 => $"{bytes} B",
        < 1 << 20 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1024.0:F1} KiB"),
        < 1 << 30 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1048576.0:F1} MiB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1073741824.0:F2} GiB"),
    };

    /// <summary>A table that fits terminals and can be pasted into markdown; columns after the first are right-aligned.</summary>
    public static Table Table(params string[] columns)
    {
        var table = new Table().Border(TableBorder.Markdown);
        for (var i = 0; i < columns.Length; i++) table.AddColumn(new TableColumn(Markup.Escape(columns[i])) { Alignment = i == 0 ? Justify.Left : Justify.Right, NoWrap = true });
        return table;
    }

    /// <summary>Adds a row of plain text.</summary>
    public static void AddPlainRow(this Table table, params string[] cells) => table.AddRow(cells.Select(c => new Text(c)).ToArray());

    /// <summary>Prints a table at its full width, also where stdout is a file, without the blank line that markdown tables end in.</summary>
    public static void Print(Table table)
    {
        using var text = new StringWriter();
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.No, ColorSystem = ColorSystemSupport.NoColors, Out = new AnsiConsoleOutput(text) });
        console.Profile.Width = 1000;
        console.Write(table);
        Console.Out.WriteLine(text.ToString().Trim());
    }

    private static IEnumerable<string> CommandPath(ParseResult parsed) =>
        parsed.CommandResult.Command is RootCommand ? [] : [parsed.CommandResult.Command.Name];
}
