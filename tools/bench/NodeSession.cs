using System.Globalization;
using Microsoft.ML.OnnxRuntime;

namespace Onnx.IntScale.Bench;

/// <summary>One operator's model of many nodes, its input and outputs bound on the device: nothing is copied when it runs.</summary>
/// <param name="host">Where it runs.</param>
/// <param name="op">The operator.</param>
/// <param name="path">Its <see cref="NodesModel"/>.</param>
/// <param name="repeats">Nodes of each weight set.</param>
internal sealed class NodeSession(CudaHost host, CudaOperator op, string path, int repeats) : IDisposable
{
    private readonly InferenceSession _session = host.Open(path, op.Config, allOnDevice: true);
    private OrtIoBinding? _binding;
    private RunOptions? _run;

    /// <summary>The operator.</summary>
    public CudaOperator Operator => op;

    /// <summary>Makes further runs use these tensors, an output for each weight set, which all of its nodes write. Other shapes have CUDA graphs of their own, which are told apart by the number of rows.</summary>
    public void Bind(OrtValue a, IReadOnlyList<OrtValue> y)
    {
        Unbind();
        _binding = _session.CreateIoBinding();
        for (var r = 0; r < repeats; r++)
        {
            _binding.BindInput(NodesModel.A(r), a);
            for (var i = 0; i < y.Count; i++) _binding.BindOutput(NodesModel.Y((r * y.Count) + i), y[i]);
        }

        _run = new();
        if (host.Graphs) _run.AddRunConfigEntry("gpu_graph_id", a.GetTensorTypeAndShape().Shape[0].ToString(CultureInfo.InvariantCulture));
    }

    /// <summary>Lets the tensors go.</summary>
    public void Unbind()
    {
        _binding?.Dispose();
        _run?.Dispose();
        (_binding, _run) = (null, null);
    }

    /// <summary>Runs every node once and waits for the device.</summary>
    public void Run() => _session.RunWithBinding(_run, _binding);

    /// <inheritdoc/>
    public void Dispose()
    {
        Unbind();
        _session.Dispose();
    }
}
