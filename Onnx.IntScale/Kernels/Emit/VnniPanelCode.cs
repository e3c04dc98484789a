using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Onnx.IntScale;

/// <summary>
/// The inner loops of <see cref="VnniPanelKernel"/>, emitted for one run length, unrolled over the run:
/// <code>
/// p[n] = Σ over the run of vpdpbusd(broadcast u[n, 4 k], a8[4 k, 16 rows])      int32, no intermediate that could saturate
/// t[n] += vpmulld(p[n], broadcast scales[n,g])
/// </code>
/// With float scales, for a benchmark: t[n] += vcvtdq2ps(p[n]) * scale, in float32.
/// Of the vector registers only those are used that no calling convention preserves: zmm0 to zmm5, zmm16 to zmm31.
/// </summary>
internal static unsafe class VnniPanelCode
{
    private const int Rows = ActivationOrder.PanelRows;

    /// <summary>Channels at once: what 16 sums and 16 totals allow.</summary>
    public static int Channels(int panels) => 8 / panels;

    /// <summary>The loop over a piece's runs for some channels and one or two panels: void (PanelArguments*).</summary>
    public static void* Emit(int run, int panels, bool fetch, bool floatScales = false)
    {
        var channels = Channels(panels);
        var c = new Assembler(64);
        var arguments = OperatingSystem.IsWindows() ? rcx : rdi;
        var (a, b, codes, scales, totals, runs) = (r8, r9, rdx, r10, r11, rax);
        Load(a, nameof(PanelArguments.A));
        Load(b, nameof(PanelArguments.PanelBytes));
        c.add(b, a);
        Load(codes, nameof(PanelArguments.Codes));
        Load(scales, nameof(PanelArguments.Scales));
        Load(totals, nameof(PanelArguments.Totals));
        Load(runs, nameof(PanelArguments.Runs));
        var (following, row, row3, last) = (rbx, rbp, rsi, arguments);
        AssemblerRegister64[] saved = [following, row, row3];
        if (fetch)
        {
            foreach (var register in saved) c.push(register);
            Load(following, nameof(PanelArguments.Next));
            Load(row, nameof(PanelArguments.RowBytes));
            c.lea(row3, __[row + (row * 2)]);
        }

        // p: zmm16..23, t: zmm24..31, operands: zmm0..3.
        AssemblerRegisterZMM[] p = [zmm16, zmm17, zmm18, zmm19, zmm20, zmm21, zmm22, zmm23];
        AssemblerRegisterZMM[] t = [zmm24, zmm25, zmm26, zmm27, zmm28, zmm29, zmm30, zmm31];
        foreach (var total in t) c.vpxord(total, total, total);

        var next = c.CreateLabel();
        c.Label(ref next);
        foreach (var product in p) c.vpxord(product, product, product);
        if (fetch) c.lea(last, __[following + (row * 4)]);
        for (var k = 0; k < run; k += 4)
        {
            // A line of each channel, spread over the run.
            if (fetch && k % (run / channels) == 0) c.prefetcht0(Line(k / (run / channels)));
            c.vmovdqu32(zmm0, __zmmword_ptr[a + (k * Rows)]);
            if (panels == 2) c.vmovdqu32(zmm1, __zmmword_ptr[b + (k * Rows)]);
            for (var i = 0; i < channels; i++)
            {
                // Two registers in turn, so that a broadcast need not wait for the product before it.
                var code = i % 2 == 0 ? zmm2 : zmm3;
                c.vpbroadcastd(code, __dword_ptr[codes + (CodeAt(run, k) + (i * PanelCodes.TileK(run)))]);
                c.vpdpbusd(p[i], code, zmm0);
                if (panels == 2) c.vpdpbusd(p[channels + i], code, zmm1);
            }
        }

        for (var i = 0; i < channels; i++)
        {
            var scale = i % 2 == 0 ? zmm2 : zmm3;
            c.vpbroadcastd(scale, __dword_ptr[scales + (i * PanelCodes.MaxRuns * sizeof(int))]);
            for (var j = i; j < p.Length; j += channels)
            {
                if (floatScales)
                {
                    c.vcvtdq2ps(p[j], p[j]);
                    c.vfmadd231ps(t[j], p[j], scale);
                    continue;
                }

                c.vpmulld(p[j], p[j], scale);
                c.vpaddd(t[j], t[j], p[j]);
            }
        }

        c.add(a, run * Rows);
        c.add(b, run * Rows);
        c.add(codes, run * PanelCodes.TileChannels);
        c.add(scales, sizeof(int));
        if (fetch) c.add(following, run / 2);
        c.dec(runs);
        c.jne(next);
        for (var j = 0; j < t.Length; j++)
        {
            var at = totals + (((j % channels) + (j / channels * PanelTiles.Channels)) * Rows * sizeof(int));
            if (floatScales) c.vaddps(t[j], t[j], __zmmword_ptr[at]);
            else c.vpaddd(t[j], t[j], __zmmword_ptr[at]);
            c.vmovdqu32(__zmmword_ptr[at], t[j]);
        }

        if (fetch)
        {
            foreach (var register in Enumerable.Reverse(saved)) c.pop(register);
        }

        c.vzeroupper();
        c.ret();
        return ExecutableCode.Place(c);

        AssemblerMemoryOperand Line(int channel)
        {
            var first = channel < 4 ? following : last;
            return (channel % 4) switch
            {
                0 => __[first],
                1 => __[first + (row * 1)],
                2 => __[first + (row * 2)],
                _ => __[first + (row3 * 1)],
            };
        }

        void Load(AssemblerRegister64 register, string field) =>
            c.mov(register, __qword_ptr[arguments + (int)System.Runtime.InteropServices.Marshal.OffsetOf<PanelArguments>(field)]);
    }

    /// <summary>Where code k of a run lies: in the tile of its k.</summary>
    private static int CodeAt(int run, int k) => (k / PanelCodes.TileK(run) * PanelCodes.TileChannels * PanelCodes.TileK(run)) + (k % PanelCodes.TileK(run));
}
