using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Onnx.IntScale;

/// <summary>
/// The inner loops of <see cref="AmxPanelKernel"/>, emitted for one run length, for Linux' calling convention:
/// <code>
/// C [16 n, 16 m] = Σ over the run of TDPBSSD(codes [16 n, T k], a8 [T k, 16 m])      int32
/// totals[n] += vpmulld(C[n], broadcast scales[n,g])                                  through memory: tiles have no other way out
/// </code>
/// Unpacked codes are a tile's rows as they lie, and a panel of activations is the other tile as it lies: nothing is rearranged.
/// The tile products of a run and the scaling of the run before it are interleaved, with two sets of stored tiles in turn, so that
/// both units have work; and each run fetches as many stored codes of the next piece as it consumes of this one.
/// </summary>
internal static unsafe class AmxPanelCode
{
    /// <summary>Channels at once: two tiles of 16.</summary>
    public const int Channels = 2 * Rows;

    /// <summary>Bytes of memory for stored tiles: two sets, not a page apart, where the processor would mistake one's loads for the other's stores.</summary>
    public const int TilesBytes = SetBytes + (4 * TileBytes);

    private const int Rows = ActivationOrder.PanelRows;
    private const int RowBytes = Rows * sizeof(int);
    private const int TileBytes = Rows * RowBytes;
    private const int SetBytes = (4 * TileBytes) + 512;

    /// <summary>The 64 bytes of LDTILECFG: C and code tiles of 16 rows, activation tiles of a row for every four k.</summary>
    public static byte[] Configuration(int run)
    {
        var bytes = new byte[64];
        bytes[0] = 1;
        for (var tile = 0; tile < 8; tile++)
        {
            bytes[16 + (2 * tile)] = (byte)(tile is 4 or 5 ? PanelCodes.TileK(run) : RowBytes);
            bytes[48 + tile] = (byte)(tile >= 6 ? PanelCodes.TileK(run) / 4 : Rows);
        }

        return bytes;
    }

    /// <summary>void (byte* configuration).</summary>
    public static void* EmitEnter()
    {
        var c = new Assembler(64);
        c.ldtilecfg(__[rdi]);
        c.ret();
        return ExecutableCode.Place(c);
    }

    /// <summary>void ().</summary>
    public static void* EmitLeave()
    {
        var c = new Assembler(64);
        c.tilerelease();
        c.ret();
        return ExecutableCode.Place(c);
    }

    /// <summary>The loop over a piece's runs for 32 channels and one or two panels: void (PanelArguments*).</summary>
    public static void* Emit(int run, int panels, bool fetch) => new Loop(run, panels, fetch).Emit();

    private sealed class Loop(int run, int panels, bool fetch)
    {
        private readonly Assembler _c = new(64);
        private readonly AssemblerRegister64 _a = r8;
        private readonly AssemblerRegister64 _b = r9;
        private readonly AssemblerRegister64 _codes = rdx;
        private readonly AssemblerRegister64 _scales = r10;
        private readonly AssemblerRegister64 _totals = r11;
        private readonly AssemblerRegister64 _runs = rax;
        private readonly AssemblerRegister64 _codeStride = rsi;
        private readonly AssemblerRegister64 _rowStride = rcx;
        private readonly AssemblerRegister64 _stored = rbx;
        private readonly AssemblerRegister64 _storing = rbp;
        private readonly AssemblerRegister64 _next = r12;
        private readonly AssemblerRegister64 _nextChannel = rdi;
        private readonly AssemblerRegister64 _rowBytes = r13;
        private readonly AssemblerRegister64 _rowBytes3 = r14;

        public void* Emit()
        {
            AssemblerRegister64[] saved = [rbx, rbp, r12, r13, r14];
            foreach (var register in saved) _c.push(register);
            Load(_a, nameof(PanelArguments.A));
            Load(_b, nameof(PanelArguments.PanelBytes));
            _c.add(_b, _a);
            Load(_codes, nameof(PanelArguments.Codes));
            Load(_scales, nameof(PanelArguments.Scales));
            Load(_totals, nameof(PanelArguments.Totals));
            Load(_runs, nameof(PanelArguments.Runs));
            Load(_storing, nameof(PanelArguments.Tiles));
            Load(_next, nameof(PanelArguments.Next));
            Load(_rowBytes, nameof(PanelArguments.RowBytes));
            _c.lea(_rowBytes3, __[_rowBytes + (_rowBytes * 2)]);
            _c.lea(_stored, __[_storing + SetBytes]);
            _c.mov(_codeStride, PanelCodes.TileK(run));
            _c.mov(_rowStride, RowBytes);

            // The first run has none before it to scale; the last one's scaling has no products beside it.
            var next = _c.CreateLabel();
            var last = _c.CreateLabel();
            Interleave(Products(), fetch ? Fetches() : []);
            Advance();
            _c.dec(_runs);
            _c.je(last);
            _c.Label(ref next);
            Interleave(Products(), fetch ? [.. Fetches(), .. Scaling()] : Scaling());
            Advance();
            _c.dec(_runs);
            _c.jne(next);
            _c.Label(ref last);
            Interleave(Scaling(), []);
            foreach (var register in Enumerable.Reverse(saved)) _c.pop(register);
            _c.vzeroupper();
            _c.ret();
            return ExecutableCode.Place(_c);
        }

        /// <summary>C: tmm0 and 1 (channels 0..16 by either panel), tmm2 and 3 (channels 16..32); codes: tmm4 and 5; activations: tmm6 and 7.</summary>
        private List<Action> Products()
        {
            var steps = new List<Action>();
            AssemblerRegisterTMM[] sums = panels == 2 ? [tmm0, tmm1, tmm2, tmm3] : [tmm0, tmm2];
            foreach (var sum in sums) steps.Add(() => _c.tilezero(sum));
            for (var k = 0; k < run; k += PanelCodes.TileK(run))
            {
                var at = k * Rows;
                steps.Add(() => _c.tileloadd(tmm4, __[_codes + (_codeStride * 1) + at]));
                steps.Add(() => _c.tileloadd(tmm6, __[_a + (_rowStride * 1) + at]));
                steps.Add(() => _c.tdpbssd(tmm0, tmm4, tmm6));
                if (panels == 2) steps.Add(() => _c.tileloadd(tmm7, __[_b + (_rowStride * 1) + at]));
                if (panels == 2) steps.Add(() => _c.tdpbssd(tmm1, tmm4, tmm7));
                steps.Add(() => _c.tileloadd(tmm5, __[_codes + (_codeStride * 1) + (at + PanelCodes.TileBytes)]));
                steps.Add(() => _c.tdpbssd(tmm2, tmm5, tmm6));
                if (panels == 2) steps.Add(() => _c.tdpbssd(tmm3, tmm5, tmm7));
            }

            for (var i = 0; i < sums.Length; i++)
            {
                var (sum, at) = (sums[i], i * TileBytes);
                steps.Add(() => _c.tilestored(__[_storing + (_rowStride * 1) + at], sum));
            }

            return steps;
        }

        /// <summary>The run before, whose scales lie behind.</summary>
        private List<Action> Scaling()
        {
            var steps = new List<Action>();
            for (var channel = 0; channel < Channels; channel++)
            {
                for (var panel = 0; panel < panels; panel++)
                {
                    // Sixteen registers in turn: none waits for the one before.
                    var product = new AssemblerRegisterZMM[] { zmm16, zmm17, zmm18, zmm19, zmm20, zmm21, zmm22, zmm23, zmm24, zmm25, zmm26, zmm27, zmm28, zmm29, zmm30, zmm31 }[((channel * panels) + panel) % 16];
                    var stored = __zmmword_ptr[_stored + ((((channel / Rows * panels) + panel) * TileBytes) + (channel % Rows * RowBytes))];
                    var scale = __dword_bcst[_scales + (((channel * PanelCodes.MaxRuns) - 1) * sizeof(int))];
                    var total = __zmmword_ptr[_totals + ((channel + (panel * PanelTiles.Channels)) * RowBytes)];
                    steps.Add(() => _c.vmovdqu32(product, stored));
                    steps.Add(() => _c.vpmulld(product, product, scale));
                    steps.Add(() => _c.vpaddd(product, product, total));
                    steps.Add(() => _c.vmovdqu32(total, product));
                }
            }

            return steps;
        }

        /// <summary>A line of each channel: a run of 128 4-bit codes.</summary>
        private List<Action> Fetches()
        {
            var steps = new List<Action> { () => _c.mov(_nextChannel, _next) };
            for (var channel = 0; channel < Channels; channel += 4)
            {
                steps.Add(() => _c.prefetcht0(__[_nextChannel]));
                steps.Add(() => _c.prefetcht0(__[_nextChannel + (_rowBytes * 1)]));
                steps.Add(() => _c.prefetcht0(__[_nextChannel + (_rowBytes * 2)]));
                steps.Add(() => _c.prefetcht0(__[_nextChannel + (_rowBytes3 * 1)]));
                steps.Add(() => _c.lea(_nextChannel, __[_nextChannel + (_rowBytes * 4)]));
            }

            return steps;
        }

        private void Advance()
        {
            _c.add(_a, run * Rows);
            _c.add(_b, run * Rows);
            _c.add(_codes, run * Rows);
            _c.add(_scales, sizeof(int));
            _c.xchg(_stored, _storing);
            if (fetch) _c.add(_next, run / 2);
        }

        /// <summary>Both lists, evenly mixed, each in its order.</summary>
        private static void Interleave(List<Action> some, List<Action> others)
        {
            for (int i = 0, j = 0; i < some.Count; i++)
            {
                some[i]();
                for (; j < (i + 1) * others.Count / some.Count; j++) others[j]();
            }
        }

        private void Load(AssemblerRegister64 register, string field) =>
            _c.mov(register, __qword_ptr[rdi + (int)Marshal.OffsetOf<PanelArguments>(field)]);
    }
}
