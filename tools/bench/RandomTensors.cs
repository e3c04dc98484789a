using System.Runtime.InteropServices;
using System.Text;

namespace Onnx.IntScale.Bench;

/// <summary>
/// Seeded float16 tensors, the same on every machine and at any number of threads. Each value is one of 65536 normal deviates, picked
/// by 16 random bits: a billion of them take seconds.
/// </summary>
internal sealed class RandomTensors
{
    private const int TableSize = 1 << 16;
    private const int ChunkValues = 1 << 20;

    private readonly int _seed;
    private readonly double[] _normal = new double[TableSize];

    /// <summary>Draws the deviates.</summary>
    public RandomTensors(int seed)
    {
        _seed = seed;
        var random = new Random(seed);
        foreach (ref var value in _normal.AsSpan())
            value = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
    }

    /// <summary>A tensor's values, normal with the given deviation, in float16. The name is part of the seed.</summary>
    public TensorBuffer Normal(string name, long count, double deviation)
    {
        var buffer = new TensorBuffer(count * sizeof(ushort));
        var table = Array.ConvertAll(_normal, v => (Half)(v * deviation));
        var seed = Hash(name);
        Parallel.For(0, (int)((count + ChunkValues - 1) / ChunkValues), chunk =>
        {
            var first = (long)chunk * ChunkValues;
            var values = MemoryMarshal.Cast<byte, Half>(buffer.Slice(first * sizeof(ushort), (int)Math.Min(ChunkValues, count - first) * sizeof(ushort)));
            var state = unchecked(seed + ((ulong)chunk * 0xD1B54A32D192ED03));
            var bits = 0UL;
            for (var i = 0; i < values.Length; i++, bits >>= 16)
            {
                if ((i & 3) == 0) bits = RandomCodes.SplitMix64(ref state);
                values[i] = table[bits & (TableSize - 1)];
            }
        });
        return buffer;
    }

    /// <summary>A seed for what has this name: FNV-1a of the name, after the seed.</summary>
    public ulong Hash(string name)
    {
        var hash = unchecked(14695981039346656037 + (ulong)_seed);
        foreach (var b in Encoding.UTF8.GetBytes(name)) hash = unchecked((hash ^ b) * 1099511628211);
        return RandomCodes.SplitMix64(ref hash);
    }
}
