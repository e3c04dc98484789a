namespace Onnx.IntScale.Tests;

/// <summary>Old files or new ones, never a mix, whatever goes wrong.</summary>
public sealed class StagedFilesTests
{
    private static readonly string[] Staged = ["model.onnx.data", "tokenizer.json", "model.onnx"];

    /// <summary>Three old files are moved aside and three new ones placed: each of the six renames fails in turn.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    public void Commit_RenameFails_PutsTheOldFilesBack(int failing)
    {
        using var folder = new TempFolder();
        foreach (var name in Staged) File.WriteAllText(folder[name], "old");
        var moves = 0;
        using (var files = Stage(folder, (from, to) =>
        {
            if (++moves == failing) throw new IOException("Device gone.");
            File.Move(from, to);
        }))
        {
            var message = Assert.Throws<ModelException>(() => files.Commit(replace: true)).Message;
            Assert.Contains("cannot be written (Device gone)", message, StringComparison.Ordinal);
        }

        Assert.Equal(Staged.Order(), Directory.GetFiles(folder.Path).Select(Path.GetFileName).Order());
        Assert.All(Staged, name => Assert.Equal("old", File.ReadAllText(folder[name])));
    }

    /// <summary>The process is gone from a rename on: nothing moves, nothing is put back, nothing is deleted.</summary>
    [Fact]
    public void Commit_KilledBeforeAnyRename_NeverLeavesAModelWithOtherData()
    {
        for (var killed = 1; killed <= 7; killed++)
        {
            using var folder = new TempFolder();
            foreach (var name in Staged) File.WriteAllText(folder[name], "old");
            var moves = 0;
            var files = Stage(folder, (from, to) =>
            {
                if (++moves >= killed) throw new IOException("killed");
                File.Move(from, to);
            });
            if (killed <= 6) Assert.Throws<ModelException>(() => files.Commit(replace: true));
            else files.Commit(replace: true);

            var left = Directory.GetFiles(folder.Path).Select(f => Path.GetFileName(f)!).ToList();
            if (File.Exists(folder["model.onnx"]))
            {
                var which = File.ReadAllText(folder["model.onnx"]);
                Assert.All(Staged, name => Assert.Equal(which, File.ReadAllText(folder[name])));
            }
            else
            {
                // Nothing is lost: both sets are there, and their names tell which is which.
                foreach (var name in Staged)
                {
                    var contents = left.Where(f => f == name || f.StartsWith(name + "." + Environment.ProcessId, StringComparison.Ordinal)).Select(f => File.ReadAllText(folder[f]));
                    Assert.Equal(["new", "old"], contents.Order());
                }
            }
        }
    }

    [Fact]
    public void TwoWriters_OfOneModel_LeaveEachOtherAlone()
    {
        using var folder = new TempFolder();
        using var first = new ModelWriter(folder["out/model.onnx"]);
        using (var second = new ModelWriter(folder["out/model.onnx"]))
        {
            first.Append("a", TensorProto.Types.DataType.Uint8, [1], [1]);
            second.Append("b", TensorProto.Types.DataType.Uint8, [1], [2]);
        }

        first.Commit(new ModelProto { Graph = new() });
        Assert.Equal([1], File.ReadAllBytes(folder["out/model.onnx.data"]));

        using var late = new ModelWriter(folder["out/model.onnx"]);
        late.Append("c", TensorProto.Types.DataType.Uint8, [1], [3]);
        Assert.Contains("appeared in the meantime", Assert.Throws<ModelException>(() => late.Commit(new ModelProto { Graph = new() })).Message, StringComparison.Ordinal);
        late.Dispose();
        Assert.Equal([1], File.ReadAllBytes(folder["out/model.onnx.data"]));
        Assert.Equal(["model.onnx", "model.onnx.data"], Directory.GetFiles(folder["out"]).Select(Path.GetFileName).Order());
    }

    [LinuxFact]
    public void Writer_OfAReadOnlyPlace_SaysSo() =>
        Assert.Contains("cannot be written", Assert.Throws<ModelException>(() => new ModelWriter("/proc/intscale-out/model.onnx")).Message, StringComparison.Ordinal);

    private static StagedFiles Stage(TempFolder folder, Action<string, string> move)
    {
        var files = new StagedFiles(folder.Path, move);
        foreach (var name in Staged) files.Add(name).Write("new"u8);
        return files;
    }
}
