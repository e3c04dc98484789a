using System.Runtime.ExceptionServices;

namespace Onnx.IntScale;

/// <summary>Parallel loops whose faults read as if the work had not been parallel.</summary>
internal static class ParallelWork
{
    /// <summary>Runs work that holds parallel loops. What a task of it throws leaves as it is, not inside an <see cref="AggregateException"/>.</summary>
    public static T Unwrap<T>(Func<T> work)
    {
        try
        {
            return work();
        }
        catch (AggregateException e)
        {
            ExceptionDispatchInfo.Throw(e.Flatten().InnerExceptions[0]);
            throw;
        }
    }
}
