// libcuda.so.1 of the emulated GPU: what the library asks a driver for. Kernels are functions of this library, of two parameters by reference.
#include <dlfcn.h>
#include <algorithm>
#include <string>
#include "machine.h"
#include "memory.h"
#include "tensor_map.h"

using namespace emu;

enum { kInvalidValue = 1, kNotFound = 500, kNotSupported = 801 };
static void* const kContext = (void*)0x1000;
static thread_local void* current_context;

static int number(const char* name, int otherwise) {
    const char* text = getenv(name);
    return text ? atoi(text) : otherwise;
}

struct Attribute {  // CUlaunchAttribute
    uint32_t id;
    char pad[4];
    union {
        char bytes[64];
        int32_t number;
        uint32_t dim[3];
    };
};

struct Config {  // CUlaunchConfig
    uint32_t grid[3], block[3], shared;
    void* stream;
    Attribute* attributes;
    uint32_t count;
};

extern "C" {

int cuInit(unsigned) {
    std::string schedule = getenv("EMULATED_SCHEDULE") ? getenv("EMULATED_SCHEDULE") : "random";
    when = schedule == "early" ? When::kEarly : schedule == "late" ? When::kLate : When::kRandom;
    random_bits.seed(number("EMULATED_SEED", 1));
    return 0;
}
int cuDriverGetVersion(int* v) { return *v = 13000, 0; }
int cuGetErrorName(int, const char** s) { return *s = "CUDA_ERROR", 0; }
int cuGetErrorString(int, const char** s) { return *s = "of the emulator", 0; }
int cuDeviceGetCount(int* n) { return *n = 1, 0; }
int cuDeviceGet(int* d, int) { return *d = 0, 0; }
int cuDeviceGetName(char* name, int, int) { return strcpy(name, "Emulated GPU"), 0; }
int cuDeviceGetAttribute(int* v, int attribute, int) { return *v = attribute == 75 ? 9 : attribute == 16 ? number("EMULATED_SMS", 3) : attribute == 97 ? 232448 : 0, 0; }
int cuDeviceTotalMem_v2(size_t* n, int) { return *n = 8ul << 30, 0; }
int cuDevicePrimaryCtxRetain(void** c, int) { return *c = kContext, 0; }
int cuCtxGetCurrent(void** c) { return *c = current_context, 0; }
int cuCtxGetDevice(int* d) { return *d = 0, 0; }
int cuCtxPushCurrent_v2(void* c) { return current_context = c, 0; }
int cuCtxPopCurrent_v2(void** c) { return *c = current_context, current_context = nullptr, 0; }

int cuModuleLoadDataEx(void** m, const void*, unsigned, int*, void**) { return *m = (void*)0x2000, 0; }
int cuModuleUnload(void*) { return 0; }
int cuModuleGetFunction(void** f, void*, const char* name) {
    Dl_info here;
    dladdr((void*)cuInit, &here);
    return (*f = dlsym(dlopen(here.dli_fname, RTLD_NOW), name)) ? 0 : kNotFound;
}
int cuFuncSetAttribute(void*, int, int) { return 0; }
int cuFuncGetAttribute(int* v, int, void*) { return *v = 0, 0; }

int cuLaunchKernelEx(const Config* c, void* function, void** parameters, void**) {
    bool overlapped = false;
    cluster.size = 1;
    for (uint32_t i = 0; i < c->count; i++) {
        const Attribute& a = c->attributes[i];
        if (a.id == 4) cluster.size = a.dim[0];
        if (a.id == 6) overlapped = a.number;
    }
    if (c->block[0] % 32 || c->block[0] > kMostThreads || c->block[1] != 1 || c->block[2] != 1 || c->shared > 232448 || cluster.size > kMostBlocks || c->grid[0] % cluster.size) return kInvalidValue;
    grid_size = {c->grid[0], c->grid[1], c->grid[2]}, block_size = {c->block[0], 1, 1}, dynamic_shared_bytes = c->shared;
    shared_base = 1024 + random_bits() % 8 * 128;  // wherever dynamic shared memory begins; mma.cu asks for 128
    run_grid((void (*)(const void*, const void*))function, parameters[0], parameters[1], overlapped);
    return 0;
}

int cuTensorMapEncodeTiled(void* map, int type, uint32_t rank, uint64_t base, const uint64_t* sizes, const uint64_t* strides, const uint32_t* box, const uint32_t* steps, int interleave, int swizzle, int, int fill) {
    if (type || rank != 2 || base % 16 || strides[0] % 16 || !sizes[0] || !sizes[1] || box[0] != 64 || box[1] > 256 || steps[0] != 1 || steps[1] != 1 || interleave || swizzle != 2 || fill || (uintptr_t)map % 64)
        return kInvalidValue;
    *(TensorMap*)map = {TensorMap::kMagic, (const unsigned char*)base, sizes[0], sizes[1], strides[0], {box[0], box[1]}};
    return 0;
}

int cuPointerGetAttribute(void* d, int, void*) { return *(int*)d = 0, 0; }
int cuMemGetInfo_v2(size_t* f, size_t* t) { return *f = 6ul << 30, *t = 8ul << 30, 0; }
int cuMemAlloc_v2(void** p, size_t n) { return *p = allocate(n), 0; }
int cuMemFree_v2(unsigned char* p) { return release(p), 0; }
int cuMemcpyHtoD_v2(void* to, const void* from, size_t n) { return memcpy(to, from, n), 0; }
int cuMemcpyDtoH_v2(void* to, const void* from, size_t n) { return memcpy(to, from, n), 0; }
int cuMemcpyDtoHAsync_v2(void* to, const void* from, size_t n, void*) { return memcpy(to, from, n), 0; }
int cuMemsetD8Async(void* p, unsigned char v, size_t n, void*) { return memset(p, v, n), 0; }
int cuMemsetD32Async(uint32_t* p, uint32_t v, size_t n, void*) { return std::fill_n(p, n, v), 0; }
int cuStreamCreate(void** s, unsigned) { return *s = (void*)0x3000, 0; }
int cuStreamDestroy_v2(void*) { return 0; }
int cuStreamSynchronize(void*) { return 0; }

// Asked for, but not by what is emulated.
int cuEventCreate(void**, unsigned) { return kNotSupported; }
int cuEventRecord(void*, void*) { return kNotSupported; }
int cuEventSynchronize(void*) { return kNotSupported; }
int cuEventElapsedTime(float*, void*, void*) { return kNotSupported; }
int cuEventDestroy_v2(void*) { return kNotSupported; }
int cuStreamBeginCapture_v2(void*, int) { return kNotSupported; }
int cuStreamEndCapture(void*, void**) { return kNotSupported; }
int cuGraphInstantiateWithFlags(void**, void*, uint64_t) { return kNotSupported; }
int cuGraphLaunch(void*, void*) { return kNotSupported; }
int cuGraphDestroy(void*) { return kNotSupported; }
int cuGraphExecDestroy(void*) { return kNotSupported; }
}
