// A CUtensorMap of the emulated driver: bytes [height, width], copied in boxes, 64-byte swizzle, zeros outside.
#pragma once
#include <stdint.h>

namespace emu {

struct TensorMap {
    static constexpr uint64_t kMagic = 0x70614D726F736E54;
    uint64_t magic;
    const unsigned char* base;
    uint64_t width, height, pitch;
    uint32_t box[2];
};

}  // namespace emu
