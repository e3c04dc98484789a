using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Onnx.IntScale;

/// <content>The end of a dot product: lanes are added up, 16 dot products together, and stored.</content>
internal sealed unsafe partial class VnniRowCode
{
    /// <summary>Lane sums of every accumulator, in their order, in one vector: four at a time, then across 128-bit lanes. Fewer than 16 are filled up with repetitions.</summary>
    private AssemblerRegisterZMM SumLanes()
    {
        var (x, y, sums) = (_aEven, _aOdd, _scales[0]);
        var fours = new List<AssemblerRegisterZMM>();
        for (var i = 0; i < _acc.Length; i += 4)
        {
            AssemblerRegisterZMM Of(int j) => _acc[Math.Min(i + j, _acc.Length - 1)];
            AddUnpacked(x, Of(0), Of(1), wide: false);
            AddUnpacked(y, Of(2), Of(3), wide: false);
            AddUnpacked(_acc[i], x, y, wide: true);
            fours.Add(_acc[i]);
        }

        AssemblerRegisterZMM Four(int j) => fours[Math.Min(j, fours.Count - 1)];
        AddLanes(x, Four(0), Four(1));
        if (fours.Count > 2) AddLanes(y, Four(2), Four(3));
        AddLanes(sums, x, fours.Count > 2 ? y : x);
        return sums;
    }

    /// <summary>d = the sums of x's and y's pairs of lanes, alternating; of quadwords where x and y alternate already.</summary>
    private void AddUnpacked(AssemblerRegisterZMM d, AssemblerRegisterZMM x, AssemblerRegisterZMM y, bool wide)
    {
        if (wide)
        {
            _c.vpunpcklqdq(_p, x, y);
            _c.vpunpckhqdq(d, x, y);
        }
        else
        {
            _c.vpunpckldq(_p, x, y);
            _c.vpunpckhdq(d, x, y);
        }

        _c.vpaddd(d, d, _p);
    }

    /// <summary>d = [x0 + x1, x2 + x3, y0 + y1, y2 + y3] of 128-bit lanes.</summary>
    private void AddLanes(AssemblerRegisterZMM d, AssemblerRegisterZMM x, AssemblerRegisterZMM y)
    {
        _c.vshufi32x4(_p, x, y, 0x88);
        _c.vshufi32x4(d, x, y, 0xDD);
        _c.vpaddd(d, d, _p);
    }

    /// <summary>Stores the sums [rows, channels].</summary>
    private void Store(AssemblerRegisterZMM sums)
    {
        LoadRows(nameof(RowArguments.Acc), nameof(RowArguments.AccStride));
        var rowsPerLane = 4 / _channels;
        for (var lane = 0; lane * rowsPerLane < _rows; lane++)
        {
            _c.vextracti32x4(xmm1, sums, (byte)lane);
            for (var i = 0; i < rowsPerLane && (lane * rowsPerLane) + i < _rows; i++)
            {
                var at = Row((lane * rowsPerLane) + i);
                if (_channels == 4) _c.vmovdqu(__xmmword_ptr[at], xmm1);
                else if (_channels == 2 && i == 0) _c.vmovq(__qword_ptr[at], xmm1);
                else if (_channels == 2) _c.vpextrq(__qword_ptr[at], xmm1, 1);
                else _c.vpextrd(__dword_ptr[at], xmm1, (byte)i);
            }
        }
    }
}
