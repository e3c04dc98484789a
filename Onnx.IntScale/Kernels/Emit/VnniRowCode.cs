using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Onnx.IntScale;

/// <summary>
/// The inner loop of <see cref="VnniRowKernel"/>, emitted for a number of rows and channels and one block size: whole dot products on the
/// stored layout, vector lanes along k.
/// <code>
/// acc  = -Σ scales · zp · blocksum                                    vpdpwssd over planes of int16, before the loop
/// p    = vpdpbusd(u even, a8 even) + vpdpbusd(u odd, a8 odd)          8 products a lane: 8·15·127 fits int16
/// acc += vpdpwssd(p, scale in the low half of each lane)              one instruction multiplies by the integer scale and adds
/// </code>
/// 8-bit codes: p of 4 products needs more than 16 bits, so vpmulld and vpaddd. Lanes are added up at the end, 16 dot products together.
/// A turn unpacks a vector of codes of each channel, then goes through the rows: a row's activations are loaded once for all channels.
/// </summary>
internal sealed unsafe partial class VnniRowCode
{
    /// <summary>Most rows of one function.</summary>
    public const int MaxRows = 8;

    private const int Vector = 64;

    private readonly Assembler _c = new(64);
    private readonly int _rows;
    private readonly int _channels;
    private readonly int _bits;
    private readonly int _blockSize;

    // The arguments stay in r15; rows are addressed as base + {0..7} strides, channels as base + {0..3} strides.
    private readonly AssemblerRegister64 _arguments = r15;
    private readonly AssemblerRegister64 _a = rax;
    private readonly AssemblerRegister64 _a1 = rcx;
    private readonly AssemblerRegister64 _a3 = rdx;
    private readonly AssemblerRegister64 _a5 = rsi;
    private readonly AssemblerRegister64 _a7 = rdi;
    private readonly AssemblerRegister64 _b = r8;
    private readonly AssemblerRegister64 _b1 = r9;
    private readonly AssemblerRegister64 _b3 = r10;
    private readonly AssemblerRegister64 _s = r11;
    private readonly AssemblerRegister64 _s1 = rbx;
    private readonly AssemblerRegister64 _s3 = rbp;
    private readonly AssemblerRegister64 _next = r12;
    private readonly AssemblerRegister64 _turns = r13;
    private readonly AssemblerRegister64 _scaleOfLane = r14;

    private readonly AssemblerRegisterZMM _nibble = zmm0;
    private readonly AssemblerRegisterZMM _p = zmm1;
    private readonly AssemblerRegisterZMM _aEven = zmm2;
    private readonly AssemblerRegisterZMM _aOdd = zmm3;
    private readonly AssemblerRegisterZMM[] _scales = [zmm4, zmm5, zmm6, zmm7];
    private readonly AssemblerRegisterZMM[] _even = [zmm8, zmm9, zmm10, zmm11];
    private readonly AssemblerRegisterZMM[] _odd = [zmm12, zmm13, zmm14, zmm15];

    /// <summary>acc[row * channels + channel].</summary>
    private readonly AssemblerRegisterZMM[] _acc;

    private VnniRowCode(int rows, int channels, int bits, int blockSize)
    {
        (_rows, _channels, _bits, _blockSize) = (rows, channels, bits, blockSize);
        AssemblerRegisterZMM[] high = [zmm16, zmm17, zmm18, zmm19, zmm20, zmm21, zmm22, zmm23, zmm24, zmm25, zmm26, zmm27, zmm28, zmm29, zmm30, zmm31];
        _acc = high[..(rows * channels)];
    }

    /// <summary>Channels of a function for so many rows, besides 1.</summary>
    public static int Channels(int rows) => rows <= 4 ? 4 : 2;

    /// <summary>Emits void (RowArguments*).</summary>
    public static void* Emit(int rows, int channels, int bits, int blockSize) => new VnniRowCode(rows, channels, bits, blockSize).Emit();

    private int CodesPerVector => Vector * 8 / _bits;

    private bool SeveralBlocks => _blockSize < CodesPerVector;

    private void* Emit()
    {
        AssemblerRegister64[] saved = [rbx, rbp, rsi, rdi, r12, r13, r14, r15];
        foreach (var register in saved) _c.push(register);
        if (OperatingSystem.IsWindows()) SaveVectors();
        _c.mov(_arguments, OperatingSystem.IsWindows() ? rcx : rdi);
        _c.mov(eax, 0x0F0F0F0F);
        _c.vpbroadcastd(_nibble, eax);
        _c.mov(eax, 0x55555555);
        _c.kmovd(k1, eax);
        var group = _c.CreateLabel();
        _c.Label(ref group);
        OweZeroPoints();
        Multiply();
        Store(SumLanes());
        MoveAlong();
        _c.dec(__qword_ptr[_arguments + Offset(nameof(RowArguments.Groups))]);
        _c.jne(group);
        if (OperatingSystem.IsWindows()) RestoreVectors();
        foreach (var register in Enumerable.Reverse(saved)) _c.pop(register);
        _c.vzeroupper();
        _c.ret();
        return ExecutableCode.Place(_c);
    }

    /// <summary>Windows wants xmm6 to xmm15 back.</summary>
    private void SaveVectors()
    {
        _c.sub(rsp, Preserved.Length * 16);
        for (var i = 0; i < Preserved.Length; i++) _c.vmovdqu(__xmmword_ptr[rsp + (i * 16)], Preserved[i]);
    }

    private void RestoreVectors()
    {
        for (var i = 0; i < Preserved.Length; i++) _c.vmovdqu(Preserved[i], __xmmword_ptr[rsp + (i * 16)]);
        _c.add(rsp, Preserved.Length * 16);
    }

    private static AssemblerRegisterXMM[] Preserved => [xmm6, xmm7, xmm8, xmm9, xmm10, xmm11, xmm12, xmm13, xmm14, xmm15];

    /// <summary>acc = -((Σ high · sums &lt;&lt; 8) + (Σ low · sums)), or without a high plane -(Σ low · sums &lt;&lt; (bits - 1)).</summary>
    private void OweZeroPoints()
    {
        var (low, negative) = (_c.CreateLabel(), _c.CreateLabel());
        foreach (var acc in _acc) _c.vpxord(acc, acc, acc);
        _c.cmp(__qword_ptr[_arguments + Offset(nameof(RowArguments.HighVectors))], 0);
        _c.je(low);
        AddPlane(nameof(RowArguments.High), nameof(RowArguments.HighStride), nameof(RowArguments.HighVectors));
        foreach (var acc in _acc) _c.vpslld(acc, acc, ZeroPointPlanes.HighShift);
        AddPlane(nameof(RowArguments.Low), nameof(RowArguments.LowStride), nameof(RowArguments.LowVectors));
        _c.jmp(negative);
        _c.Label(ref low);
        AddPlane(nameof(RowArguments.Low), nameof(RowArguments.LowStride), nameof(RowArguments.LowVectors));
        foreach (var acc in _acc) _c.vpslld(acc, acc, (byte)(_bits - 1));
        _c.Label(ref negative);
        _c.vpxord(_p, _p, _p);
        foreach (var acc in _acc) _c.vpsubd(acc, _p, acc);
    }

    private void AddPlane(string plane, string stride, string vectors)
    {
        var (all, lanes) = (_b1, _b3);
        var next = _c.CreateLabel();
        LoadRows(nameof(RowArguments.Sums), nameof(RowArguments.SumsStride));
        LoadChannels(_s, _s1, _s3, plane, stride);
        Load(_turns, vectors);
        Load(_b, nameof(RowArguments.LastLanes));
        _c.mov(all, -1);
        _c.Label(ref next);
        _c.cmp(_turns, 1);
        _c.mov(lanes, all);
        _c.cmove(lanes, _b);
        _c.kmovd(k2, r10d);
        for (var channel = 0; channel < _channels; channel++)
        {
            _c.vmovdqu16(_scales[channel].k2.z, __zmmword_ptr[At(_s, _s1, _s3, channel)]);
            for (var row = 0; row < _rows; row++) _c.vpdpwssd(Acc(row, channel), _scales[channel], __zmmword_ptr[Row(row)]);
        }

        _c.add(_a, Vector);
        _c.add(_s, Vector);
        _c.dec(_turns);
        _c.jne(next);
    }

    private void Multiply()
    {
        LoadRows(nameof(RowArguments.A), nameof(RowArguments.AStride));
        LoadChannels(_b, _b1, _b3, nameof(RowArguments.B), nameof(RowArguments.BStride));
        LoadChannels(_s, _s1, _s3, nameof(RowArguments.Scales), nameof(RowArguments.ScalesStride));
        Load(_turns, nameof(RowArguments.Turns));
        Load(_next, nameof(RowArguments.Ahead));
        _c.add(_next, _b);
        var vectors = SeveralBlocks ? 1 : _blockSize / CodesPerVector;
        var next = _c.CreateLabel();
        _c.Label(ref next);
        for (var v = 0; v < vectors; v++)
        {
            // The same place of channels that come later: what memory needs to keep up with few rows.
            for (var channel = 0; channel < _channels; channel++) _c.prefetcht0(__[At(_next, _b1, _b3, channel) + (v * Vector)]);
            for (var channel = 0; channel < _channels; channel++)
            {
                if (v == 0) LoadScale(channel);
                LoadCodes(channel, v * Vector);
            }

            for (var row = 0; row < _rows; row++) MultiplyRow(row, v * CodesPerVector);
        }

        _c.add(_a, vectors * CodesPerVector);
        _c.add(_b, vectors * Vector);
        _c.add(_next, vectors * Vector);
        _c.add(_s, sizeof(short) * (SeveralBlocks ? CodesPerVector / _blockSize : 1));
        _c.dec(_turns);
        _c.jne(next);
    }

    /// <summary>
    /// 4 bits: the scale in the low half of each lane, zero in the high half; 8 bits: sign-extended over the lane.
    /// A doubleword is broadcast by the load itself, a masked word is not; what its high half held goes.
    /// </summary>
    private void LoadScale(int channel)
    {
        var at = At(_s, _s1, _s3, channel);
        var scale = _bits == 4 ? _scales[channel].k1.z : _scales[channel];
        if (SeveralBlocks && channel == 0)
        {
            Load(_scaleOfLane, nameof(RowArguments.ScaleOfLane));
            _c.vmovdqu32(_p, __zmmword_ptr[_scaleOfLane]);
        }

        if (SeveralBlocks) _c.vpermw(scale, _p, __zmmword_ptr[at]);
        else if (_bits == 8) _c.vpbroadcastw(scale, __word_ptr[at]);
        else
        {
            _c.vpbroadcastd(_scales[channel], __dword_ptr[at]);
            _c.vpandd(_scales[channel], _scales[channel], __dword_bcst[_arguments + Offset(nameof(RowArguments.LowHalf))]);
        }

        if (_bits == 8) _c.vpsrad(_scales[channel], _scales[channel], 16);
    }

    private void LoadCodes(int channel, int at)
    {
        _c.vmovdqu32(_even[channel], __zmmword_ptr[At(_b, _b1, _b3, channel) + at]);
        if (_bits == 8) return;
        _c.vpsrlw(_odd[channel], _even[channel], 4);
        _c.vpandd(_even[channel], _even[channel], _nibble);
        _c.vpandd(_odd[channel], _odd[channel], _nibble);
    }

    private void MultiplyRow(int row, int at)
    {
        _c.vmovdqu32(_aEven, __zmmword_ptr[Row(row) + at]);
        if (_bits == 4) _c.vmovdqu32(_aOdd, __zmmword_ptr[Row(row) + (at + Vector)]);
        for (var channel = 0; channel < _channels; channel++)
        {
            var acc = Acc(row, channel);
            _c.vpxord(_p, _p, _p);
            _c.vpdpbusd(_p, _even[channel], _aEven);
            if (_bits == 4)
            {
                _c.vpdpbusd(_p, _odd[channel], _aOdd);
                _c.vpdpwssd(acc, _p, _scales[channel]);
            }
            else
            {
                _c.vpmulld(_p, _p, _scales[channel]);
                _c.vpaddd(acc, acc, _p);
            }
        }
    }

    /// <summary>The next channels.</summary>
    private void MoveAlong()
    {
        Move(nameof(RowArguments.B), nameof(RowArguments.BStride));
        Move(nameof(RowArguments.Scales), nameof(RowArguments.ScalesStride));
        Move(nameof(RowArguments.Low), nameof(RowArguments.LowStride));
        Move(nameof(RowArguments.High), nameof(RowArguments.HighStride));
        _c.add(__qword_ptr[_arguments + Offset(nameof(RowArguments.Acc))], _channels * sizeof(int));

        void Move(string field, string stride)
        {
            Load(_turns, stride);
            _c.imul(_turns, _turns, _channels);
            _c.add(__qword_ptr[_arguments + Offset(field)], _turns);
        }
    }

    private AssemblerRegisterZMM Acc(int row, int channel) => _acc[(row * _channels) + channel];

    /// <summary>Multiples 1, 3, 5 and 7 of the stride; an address scales them by 2 and 4.</summary>
    private void LoadRows(string first, string stride)
    {
        Load(_a, first);
        Load(_a1, stride);
        _c.lea(_a3, __[_a1 + (_a1 * 2)]);
        _c.lea(_a5, __[_a1 + (_a1 * 4)]);
        _c.lea(_a7, __[_a3 + (_a1 * 4)]);
    }

    private AssemblerMemoryOperand Row(int row) => row switch
    {
        0 => __[_a],
        1 => __[_a + (_a1 * 1)],
        2 => __[_a + (_a1 * 2)],
        3 => __[_a + (_a3 * 1)],
        4 => __[_a + (_a1 * 4)],
        5 => __[_a + (_a5 * 1)],
        6 => __[_a + (_a3 * 2)],
        _ => __[_a + (_a7 * 1)],
    };

    private void LoadChannels(AssemblerRegister64 first, AssemblerRegister64 one, AssemblerRegister64 three, string from, string stride)
    {
        Load(first, from);
        Load(one, stride);
        _c.lea(three, __[one + (one * 2)]);
    }

    private static AssemblerMemoryOperand At(AssemblerRegister64 first, AssemblerRegister64 one, AssemblerRegister64 three, int channel) => channel switch
    {
        0 => __[first],
        1 => __[first + (one * 1)],
        2 => __[first + (one * 2)],
        _ => __[first + (three * 1)],
    };

    private void Load(AssemblerRegister64 register, string field) => _c.mov(register, __qword_ptr[_arguments + Offset(field)]);

    private static int Offset(string field) => (int)Marshal.OffsetOf<RowArguments>(field);
}
