using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Spectre.Console;

namespace Onnx.IntScale.Tool;

/// <summary>What the commands share: exit codes, one-line errors, JSON, number formats.</summary>
internal static class Cli
{
    public const int Done = 0;
    public const int Refused = 1;
    public const int BadInput = 2;

    /// <summary>Results go to stdout, progress and logs to stderr.</summary>
    public static readonly IAnsiConsole Error = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });

    private static readonly JsonSerializerOptions JsonOptions = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        WriteIndented = true,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    /// <summary>Option shared by every command.</summary>
    public static Option<bool> Json() => new("--json") { Description = "Machine-readable result on stdout; progress and logs stay on stderr." };

    /// <summary>Runs a command line. Faults of input become one line on stderr and exit code 2; nobody sees a stack trace.</summary>
    public static async Task<int> RunAsync(RootCommand root, string[] args)
    {
        CultureInfo.DefaultThreadCurrentCulture = CultureInfo.InvariantCulture;
        try
        {
            var parsed = root.Parse(args);
            if (parsed.Errors.Count > 0)
            {
                foreach (var error in parsed.Errors) Console.Error.WriteLine($"error: {error.Message}");
                Console.Error.WriteLine($"Type 'intscale {string.Join(' ', CommandPath(parsed))}--help' for usage.");
                return BadInput;
            }

            return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
        }
        catch (OperationCanceledException)
        {
            return Fail("stopped; nothing was written");
        }
        catch (ModelException e)
        {
            return Fail(e.Message);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Fail($"{e.Message.TrimEnd('.')}; check free space and permissions; nothing half-written was left");
        }
        catch (OutOfMemoryException)
        {
            return Fail("out of memory; close other programs or convert on a larger machine");
        }
        catch (Exception e)
        {
            return Fail($"{e.Message.ReplaceLineEndings(" ")} (a defect of intscale: {e.GetType().Name}; please report it with the command you typed)");
        }
    }

    /// <summary>Prints one error line.</summary>
    public static int Fail(string message)
    {
        Console.Error.WriteLine($"error: {message.ReplaceLineEndings(" ")}");
        return BadInput;
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
        parsed.CommandResult.Command is RootCommand ? [] : [parsed.CommandResult.Command.Name, ""];
}
