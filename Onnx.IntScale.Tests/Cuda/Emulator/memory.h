// Allocations of the emulated device.
#pragma once
#include <map>

namespace emu {

unsigned char* allocate(long bytes);
void release(unsigned char* base);

}  // namespace emu
