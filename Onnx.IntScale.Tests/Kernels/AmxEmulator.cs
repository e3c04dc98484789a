using Iced.Intel;

namespace Onnx.IntScale.Tests;

/// <summary>
/// Executes the loops of <see cref="AmxPanelCode"/> instruction by instruction, as the processor's manual describes them, on real memory:
/// so that they are tested where there is no AMX. Anything that they do not use is refused.
/// </summary>
internal sealed unsafe class AmxEmulator
{
    private const int MaxCodeBytes = 1 << 16;
    private const int TileRowBytes = 64;

    private readonly Dictionary<ulong, Instruction> _code = [];
    private readonly ulong _start;
    private readonly byte[] _configuration;

    /// <summary>Code that ends with ret, and the tile configuration it runs with.</summary>
    public AmxEmulator(void* code, byte[] configuration)
    {
        _start = (ulong)code;
        _configuration = configuration;
        var decoder = Decoder.Create(64, new PointerReader((byte*)code), _start);
        while (decoder.IP < _start + MaxCodeBytes)
        {
            var instruction = decoder.Decode();
            _code.Add(instruction.IP, instruction);
            if (instruction.Mnemonic == Mnemonic.Ret) return;
        }

        throw new InvalidOperationException("no ret");
    }

    /// <summary>Calls it by Linux' convention; callee-saved registers and the stack pointer must come back as they were.</summary>
    public void Call(void* argument)
    {
        var stack = stackalloc ulong[32];
        var state = new State(_configuration);
        for (var i = 0; i < 16; i++) state.General[i] = 0xDEAD0000_00000000UL + (ulong)i;
        state.General[4] = (ulong)(stack + 32);
        state.General[7] = (ulong)argument;
        var before = state.General.ToArray();
        for (var ip = _start; ip != 0;) ip = state.Execute(_code[ip]);
        foreach (var saved in new[] { 3, 4, 5, 12, 13, 14, 15 }) Assert.Equal(before[saved], state.General[saved]);
    }

    private sealed class PointerReader(byte* code) : CodeReader
    {
        private byte* _next = code;

        public override int ReadByte() => *_next++;
    }

    private sealed class State(byte[] configuration)
    {
        private readonly int[][] _zmm = [.. Enumerable.Range(0, 32).Select(_ => new int[16])];
        private readonly byte[][] _tiles = [.. Enumerable.Range(0, 8).Select(_ => new byte[16 * TileRowBytes])];
        private bool _zero;

        public ulong[] General { get; } = new ulong[16];

        /// <summary>The next instruction's address; 0 after ret.</summary>
        public ulong Execute(in Instruction i)
        {
            switch (i.Mnemonic)
            {
                case Mnemonic.Ret: return 0;
                case Mnemonic.Je: return _zero ? i.NearBranchTarget : i.NextIP;
                case Mnemonic.Jne: return _zero ? i.NextIP : i.NearBranchTarget;
                case Mnemonic.Push: General[4] -= 8; *(ulong*)General[4] = Of(i.Op0Register); break;
                case Mnemonic.Pop: Of(i.Op0Register) = *(ulong*)General[4]; General[4] += 8; break;
                case Mnemonic.Mov: Of(i.Op0Register) = Source(i); break;
                case Mnemonic.Add: Of(i.Op0Register) += Source(i); break;
                case Mnemonic.Lea: Of(i.Op0Register) = Address(i); break;
                case Mnemonic.Xchg: (Of(i.Op0Register), Of(i.Op1Register)) = (Of(i.Op1Register), Of(i.Op0Register)); break;
                case Mnemonic.Dec: _zero = --Of(i.Op0Register) == 0; break;
                case Mnemonic.Prefetcht0 or Mnemonic.Vzeroupper: break;
                case Mnemonic.Tilezero: Array.Clear(Tile(i.Op0Register)); break;
                case Mnemonic.Tileloadd: Load(i); break;
                case Mnemonic.Tilestored: Store(i); break;
                case Mnemonic.Tdpbssd: Multiply(i); break;
                case Mnemonic.Vmovdqu32 when i.Op0Kind == OpKind.Memory: Zmm(i.Op1Register).CopyTo(new Span<int>((void*)Address(i), 16)); break;
                case Mnemonic.Vmovdqu32: Operand(i, 1).CopyTo(Zmm(i.Op0Register), 0); break;
                case Mnemonic.Vpmulld: Combine(i, (x, y) => unchecked(x * y)); break;
                case Mnemonic.Vpaddd: Combine(i, (x, y) => unchecked(x + y)); break;
                default: throw new NotSupportedException(i.ToString());
            }

            return i.NextIP;
        }

        private ref ulong Of(Register register) => ref General[register.GetFullRegister() - Register.RAX];

        private int[] Zmm(Register register) => _zmm[register - Register.ZMM0];

        private byte[] Tile(Register register) => _tiles[register - Register.TMM0];

        private int Rows(Register tile) => configuration[48 + (tile - Register.TMM0)];

        private int ColumnBytes(Register tile) => configuration[16 + (2 * (tile - Register.TMM0))];

        private ulong Source(in Instruction i) => i.Op1Kind switch
        {
            OpKind.Register => Of(i.Op1Register),
            OpKind.Memory => *(ulong*)Address(i),
            _ => i.GetImmediate(1),
        };

        /// <summary>Base + displacement + index, without the index for tiles, whose rows are that far apart.</summary>
        private ulong Address(in Instruction i, bool tile = false) => unchecked(Of(i.MemoryBase) + i.MemoryDisplacement64
            + (tile || i.MemoryIndex == Register.None ? 0 : Of(i.MemoryIndex) * (ulong)i.MemoryIndexScale));

        private int[] Operand(in Instruction i, int operand) => i.GetOpKind(operand) == OpKind.Register
            ? Zmm(i.GetOpRegister(operand))
            : i.IsBroadcast
                ? [.. Enumerable.Repeat(*(int*)Address(i), 16)]
                : new ReadOnlySpan<int>((void*)Address(i), 16).ToArray();

        private void Combine(in Instruction i, Func<int, int, int> combine) =>
            Zmm(i.Op1Register).Zip(Operand(i, 2), combine).ToArray().CopyTo(Zmm(i.Op0Register), 0);

        private void Load(in Instruction i)
        {
            var tile = Tile(i.Op0Register);
            Array.Clear(tile);
            var (bytes, stride, start) = (ColumnBytes(i.Op0Register), Of(i.MemoryIndex), Address(i, tile: true));
            for (var r = 0; r < Rows(i.Op0Register); r++) new ReadOnlySpan<byte>((void*)(start + (stride * (ulong)r)), bytes).CopyTo(tile.AsSpan(r * TileRowBytes));
        }

        private void Store(in Instruction i)
        {
            var (bytes, stride, start) = (ColumnBytes(i.Op1Register), Of(i.MemoryIndex), Address(i, tile: true));
            for (var r = 0; r < Rows(i.Op1Register); r++) Tile(i.Op1Register).AsSpan(r * TileRowBytes, bytes).CopyTo(new Span<byte>((void*)(start + (stride * (ulong)r)), bytes));
        }

        /// <summary>c[m, n] += Σ_k a[m, 4k..4k+4] · b[k, 4n..4n+4], signed bytes.</summary>
        private void Multiply(in Instruction i)
        {
            var (c, a, b) = (Tile(i.Op0Register), Tile(i.Op1Register), Tile(i.Op2Register));
            Assert.Equal(ColumnBytes(i.Op1Register), 4 * Rows(i.Op2Register));
            for (var m = 0; m < Rows(i.Op0Register); m++)
            {
                for (var n = 0; n < ColumnBytes(i.Op0Register) / 4; n++)
                {
                    var at = (m * TileRowBytes) + (4 * n);
                    var sum = BitConverter.ToInt32(c, at);
                    for (var k = 0; k < ColumnBytes(i.Op1Register); k++)
                        sum = unchecked(sum + ((sbyte)a[(m * TileRowBytes) + k] * (sbyte)b[(k / 4 * TileRowBytes) + (4 * n) + (k % 4)]));
                    BitConverter.TryWriteBytes(c.AsSpan(at), sum);
                }
            }
        }
    }
}
