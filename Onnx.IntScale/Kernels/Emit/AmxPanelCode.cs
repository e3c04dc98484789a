using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Onnx.IntScale;

/// <summary>
/// The inner loops of <see cref="AmxPanelKernel"/>, emitted for one run length, for Linux' calling convention:
/// <code>
/// C [16 n, 16 m] = Σ over the run of TDPBUSD(codes [16 n, 64 k], a8 [64 k, 16 m])      int32
/// totals[n] += vpmulld(C[n], broadcast scales[n,g])                                    through memory: tiles have no other way out
/// </code>
/// Unpacked codes are a tile's rows as they lie, and a panel of activations is the other tile as it lies: nothing is rearranged.
/// </summary>
internal static unsafe class AmxPanelCode
{
    /// <summary>Channels at once: two tiles of 16.</summary>
    public const int Channels = 32;

    /// <summary>Bytes of a C tile in memory; a call needs four.</summary>
    public const int TileBytes = Rows * RowBytes;

    private const int Rows = ActivationOrder.PanelRows;
    private const int RowBytes = Rows * sizeof(int);

    /// <summary>The 64 bytes of LDTILECFG: C and code tiles of 16 rows, activation tiles of a row for every four k.</summary>
    public static byte[] Configuration(int run)
    {
        var bytes = new byte[64];
        bytes[0] = 1;
        for (var tile = 0; tile < 8; tile++)
        {
            bytes[16 + (2 * tile)] = (byte)(tile is 4 or 5 ? TileK(run) : RowBytes);
            bytes[48 + tile] = (byte)(tile >= 6 ? TileK(run) / 4 : Rows);
        }

        return bytes;
    }

    /// <summary>The loop over a piece's runs for 32 channels and one or two panels.</summary>
    public static void* Emit(int run, int panels)
    {
        var c = new Assembler(64);
        var (a, b, codes, scales, totals, runs, codeStride, panelStride, tiles) = (r8, r9, rdx, r10, r11, rax, rsi, rcx, rdi);
        Load(rax, nameof(PanelArguments.Configuration));
        c.ldtilecfg(__[rax]);
        Load(a, nameof(PanelArguments.A));
        Load(b, nameof(PanelArguments.PanelBytes));
        c.add(b, a);
        Load(codes, nameof(PanelArguments.Codes));
        Load(scales, nameof(PanelArguments.Scales));
        Load(totals, nameof(PanelArguments.Totals));
        Load(runs, nameof(PanelArguments.Runs));
        Load(tiles, nameof(PanelArguments.Tiles));
        c.mov(codeStride, PanelTiles.Stride);
        c.mov(panelStride, RowBytes);

        // C: tmm0 and 1 (channels 0..16 by either panel), tmm2 and 3 (channels 16..32); codes: tmm4 and 5; activations: tmm6 and 7.
        AssemblerRegisterTMM[] sums = panels == 2 ? [tmm0, tmm1, tmm2, tmm3] : [tmm0, tmm2];
        var next = c.CreateLabel();
        c.Label(ref next);
        foreach (var sum in sums) c.tilezero(sum);
        for (var k = 0; k < run; k += TileK(run))
        {
            c.tileloadd(tmm4, __[codes + (codeStride * 1) + k]);
            c.tileloadd(tmm6, __[a + (panelStride * 1) + (k * Rows)]);
            c.tdpbusd(tmm0, tmm4, tmm6);
            c.tileloadd(tmm5, __[codes + (codeStride * 1) + (k + (Rows * PanelTiles.Stride))]);
            c.tdpbusd(tmm2, tmm5, tmm6);
            if (panels == 1) continue;
            c.tileloadd(tmm7, __[b + (panelStride * 1) + (k * Rows)]);
            c.tdpbusd(tmm1, tmm4, tmm7);
            c.tdpbusd(tmm3, tmm5, tmm7);
        }

        for (var i = 0; i < sums.Length; i++) c.tilestored(__[tiles + (panelStride * 1) + (i * TileBytes)], sums[i]);
        for (var channel = 0; channel < Channels; channel++)
        {
            c.vpbroadcastd(zmm0, __dword_ptr[scales + (channel * PanelTiles.MaxRuns * sizeof(int))]);
            for (var panel = 0; panel < panels; panel++)
            {
                var (product, at) = (panel == 0 ? zmm1 : zmm2, totals + ((channel + (panel * PanelTiles.Channels)) * RowBytes));
                c.vpmulld(product, zmm0, __zmmword_ptr[tiles + ((((channel / Rows * panels) + panel) * TileBytes) + (channel % Rows * RowBytes))]);
                c.vpaddd(product, product, __zmmword_ptr[at]);
                c.vmovdqu32(__zmmword_ptr[at], product);
            }
        }

        c.add(a, run * Rows);
        c.add(b, run * Rows);
        c.add(codes, run);
        c.add(scales, sizeof(int));
        c.dec(runs);
        c.jne(next);
        c.tilerelease();
        c.vzeroupper();
        c.ret();
        return ExecutableCode.Place(c);

        void Load(AssemblerRegister64 register, string field) =>
            c.mov(register, __qword_ptr[rdi + (int)Marshal.OffsetOf<PanelArguments>(field)]);
    }

    /// <summary>k of one tile product.</summary>
    private static int TileK(int run) => Math.Min(64, run);
}
