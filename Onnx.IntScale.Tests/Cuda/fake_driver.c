/* A stand-in for NVIDIA's driver, libcuda.so.1, for machines without one: device memory is the host's, streams do at once what they are
   told, and launching any matmul kernel computes the operator's formulas, whatever the kernel. What it shows is that the host asks for the
   right things: structs as C lays them out, grids, scratch memory. Launches that no driver would take are refused. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int Result;
typedef void* Handle;
enum { kInvalidValue = 1, kInvalidDevice = 101, kInvalidContext = 201, kNotFound = 500 };

struct Params { /* intscale.cuh */
  const void* a;
  const uint8_t* b;
  const int16_t* scales;
  const float* channel_scales;
  const uint8_t* zero_points;
  const void* bias;
  void* y;
  int8_t* a8;
  float* a_scales;
  int m, n, k, k_blocks, block_size, bits, type, a8_rows;
};

struct LaunchAttribute { /* CUlaunchAttribute of cuda.h */
  int id;
  char pad[8 - sizeof(int)];
  union {
    char pad[64];
    struct { unsigned x, y, z; } cluster;
    int start_early;
  } value;
};

struct LaunchConfig { /* CUlaunchConfig of cuda.h */
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
  Handle stream;
  struct LaunchAttribute* attributes;
  unsigned attribute_count;
};

static __thread Handle current;

static int capability_major(void) {
  const char* text = getenv("FAKE_CAPABILITY");
  return text ? atoi(text) : 9;
}

/* Device and context. */
Result cuInit(unsigned flags) { return 0; }
Result cuDriverGetVersion(int* version) { *version = 13000; return 0; }
Result cuGetErrorName(int error, const char** text) { *text = error == 222 ? "CUDA_ERROR_UNSUPPORTED_PTX_VERSION" : "CUDA_ERROR"; return 0; }
Result cuGetErrorString(int error, const char** text) { *text = "as described"; return 0; }
Result cuDeviceGetCount(int* count) { *count = 1; return 0; }
Result cuDeviceGet(int* device, int ordinal) { *device = ordinal; return ordinal == 0 ? 0 : kInvalidDevice; }
Result cuDeviceGetName(char* name, int length, int device) { strncpy(name, "Fake GPU", length); return 0; }
Result cuDeviceGetAttribute(int* value, int attribute, int device) {
  *value = attribute == 75 ? capability_major() : attribute == 16 ? 132 : attribute == 97 ? 232448 : 0;
  return 0;
}
Result cuDeviceTotalMem_v2(size_t* bytes, int device) { *bytes = (size_t)80 << 30; return 0; }
Result cuDevicePrimaryCtxRetain(Handle* context, int device) { *context = (Handle)0x1000; return 0; }
Result cuCtxGetCurrent(Handle* context) { *context = current; return 0; }
Result cuCtxGetDevice(int* device) { *device = 0; return current ? 0 : kInvalidContext; }
Result cuCtxPushCurrent_v2(Handle context) { current = context; return 0; }
Result cuCtxPopCurrent_v2(Handle* context) { *context = current; current = NULL; return 0; }

/* Modules: a function is its name. */
Result cuModuleLoadDataEx(Handle* module, const void* image, unsigned count, int* options, Handle* values) {
  if (!current || count != 4 || options[0] != 5 || (intptr_t)values[1] <= 0) return kInvalidValue;
  if (getenv("FAKE_OLD_DRIVER")) {
    strcpy(values[0], "ptxas fatal: Unsupported .version");
    return 222;
  }
  *module = (Handle)0x2000;
  return 0;
}
Result cuModuleUnload(Handle module) { return 0; }
Result cuModuleGetFunction(Handle* function, Handle module, const char* name) { *function = strdup(name); return 0; }
Result cuFuncGetAttribute(int* value, int attribute, Handle function) { *value = attribute == 1 ? 1024 : 0; return 0; }
Result cuFuncSetAttribute(Handle function, int attribute, int value) { return attribute == 8 && value <= 232448 - 1024 ? 0 : kInvalidValue; }

/* Elements, codes and zero points. */
static float load(const void* data, int type, long i) {
  if (type == 1) return ((const float*)data)[i];
  uint16_t bits = ((const uint16_t*)data)[i];
  uint32_t wide = (uint32_t)bits << 16;
  float value;
  if (type == 10) { /* float16, without the help of the compiler: older ones have no _Float16 */
    int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
    value = exponent == 31 ? (mantissa ? NAN : INFINITY) : exponent ? ldexpf(1024 + mantissa, exponent - 25) : ldexpf(mantissa, -24);
    return bits >> 15 ? -value : value;
  }
  memcpy(&value, &wide, sizeof value);
  return value;
}

static uint16_t to_float16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  uint16_t sign = (bits >> 16) & 0x8000;
  float magnitude = fabsf(value);
  if (isnan(value)) return 0x7E00;
  if (magnitude >= 65520) return sign | 0x7C00;
  if (magnitude < 6.103515625e-05f) return sign | (uint16_t)rintf(ldexpf(magnitude, 24));
  bits &= 0x7FFFFFFF;
  return sign | (uint16_t)((bits - 0x38000000 + 0xFFF + ((bits >> 13) & 1)) >> 13);
}

static void store(void* data, int type, long i, float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if (type == 1) ((float*)data)[i] = value;
  else if (type == 10) ((uint16_t*)data)[i] = to_float16(value);
  else ((uint16_t*)data)[i] = isnan(value) ? 0x7FC0 : (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
}

/* q - zp of channel n */
static int weight(const struct Params* p, int n, int k) {
  long element = (long)n * p->k_blocks * p->block_size + k, g = k / p->block_size;
  int q = p->bits == 8 ? p->b[element] : (p->b[element / 2] >> (element % 2 * 4)) & 15;
  if (!p->zero_points) return q - (1 << (p->bits - 1));
  if (p->bits == 8) return q - p->zero_points[(long)n * p->k_blocks + g];
  return q - ((p->zero_points[(long)n * ((p->k_blocks + 1) / 2) + g / 2] >> (g % 2 * 4)) & 15);
}

static void certificate(const struct Params* p) {
  uint64_t max = 0, largest = 0;
  for (long i = 0; i < (long)p->n * p->k_blocks; i++) largest = abs(p->scales[i]) > largest ? abs(p->scales[i]) : largest;
  for (int n = 0; n < p->n; n++) {
    uint64_t sum = 0;
    for (int k = 0; k < p->k; k++) sum += (uint64_t)abs(p->scales[(long)n * p->k_blocks + k / p->block_size]) * abs(weight(p, n, k));
    if (127 * sum > max) max = 127 * sum;
  }
  ((uint64_t*)p->y)[0] = max;
  ((uint64_t*)p->y)[1] = largest;
}

/* Scales are integers, or in a twin float16. */
static void matmul(const struct Params* p, int twin) {
  int* codes = malloc(sizeof(int) * p->k);
  for (int m = 0; m < p->m; m++) {
    float max = 0;
    for (int k = 0; k < p->k; k++) {
      float value = fabsf(load(p->a, p->type, (long)m * p->k + k));
      if (!(value <= max)) max = isnan(max) ? max : value;
    }
    float inverse = 127.0f / max, scale = max / 127.0f;
    if (!isfinite(max)) scale = NAN, inverse = 0;
    else if (!isfinite(inverse)) scale = inverse = 0;
    for (int k = 0; k < p->k; k++) codes[k] = inverse == 0 ? 0 : (int)rintf(load(p->a, p->type, (long)m * p->k + k) * inverse);
    for (int n = 0; n < p->n; n++) {
      int sum = 0;
      float floats = 0;
      for (int k = 0; k < p->k; k++) {
        long block = (long)n * p->k_blocks + k / p->block_size;
        if (twin) floats += load(p->scales, 10, block) * (float)(codes[k] * weight(p, n, k));
        else sum += p->scales[block] * codes[k] * weight(p, n, k);
      }
      float factor = scale * p->channel_scales[n], value = (twin ? floats : (float)sum) * factor;
      if (p->bias) value = value + load(p->bias, p->type, n);
      store(p->y, p->type, (long)m * p->n + n, value);
    }
  }
  free(codes);
}

Result cuLaunchKernelEx(const struct LaunchConfig* c, Handle function, Handle* parameters, Handle* extra) {
  const struct Params* p = parameters[0];
  if (!current || !c->grid_x || !c->grid_y || !c->grid_z || c->grid_y > 65535 || c->grid_z > 65535) return kInvalidValue;
  if (!c->block_x || c->block_x > 1024 || c->block_y != 1 || c->block_z != 1 || c->shared_bytes > 232448) return kInvalidValue;
  for (unsigned i = 0; i < c->attribute_count; i++) {
    const struct LaunchAttribute* a = &c->attributes[i];
    int cluster = a->id == 4 && a->value.cluster.x > 1 && c->grid_x % a->value.cluster.x == 0 && a->value.cluster.y == 1 && a->value.cluster.z == 1;
    int early = a->id == 6 && a->value.start_early == 1;
    if (!(cluster || early) || capability_major() < 9) return kInvalidValue;
  }
  if (strncmp(function, "wgmma", 5) == 0) {
    const uint64_t* map = parameters[1]; /* as cuTensorMapEncodeTiled below leaves it */
    if (map[0] != (uintptr_t)p->b || map[1] != (uint64_t)p->k_blocks * p->block_size / 2 || map[2] != (uint64_t)p->n) return kInvalidValue;
  }
  if (strcmp(function, "certificate") == 0) {
    certificate(p);
    return 0;
  }
  /* Scratch, where there is some, is aligned and large enough: every byte of it is written. */
  if (p->a8) {
    if ((uintptr_t)p->a8 % 1024 || (uintptr_t)p->a_scales % 256 || p->a8_rows < p->m) return kInvalidValue;
    memset(p->a8, 0x55, (size_t)p->a8_rows * p->k);
    memset(p->a_scales, 0x55, sizeof(float) * p->m);
  }
  if (strncmp(function, "quantize", 8) != 0) matmul(p, strstr(function, "_f16") != NULL);
  return 0;
}

Result cuTensorMapEncodeTiled(uint64_t* map, int type, uint32_t rank, void* address, const uint64_t* sizes, const uint64_t* strides, const uint32_t* box,
                              const uint32_t* steps, int interleave, int swizzle, int promotion, int fill) {
  if ((uintptr_t)map % 64 || type != 0 || rank != 2 || (uintptr_t)address % 16 || strides[0] % 16 || strides[0] != sizes[0]) return kInvalidValue;
  if (box[0] != 64 || box[1] != 64 || steps[0] != 1 || steps[1] != 1 || interleave != 0 || swizzle != 2 || fill != 0) return kInvalidValue;
  map[0] = (uintptr_t)address, map[1] = sizes[0], map[2] = sizes[1];
  return 0;
}

/* Memory, streams, events, graphs. */
Result cuPointerGetAttribute(Handle data, int attribute, Handle address) { *(int*)data = 0; return attribute == 9 ? 0 : kInvalidValue; }
Result cuMemGetInfo_v2(size_t* free, size_t* total) { *free = (size_t)60 << 30, *total = (size_t)80 << 30; return 0; }
Result cuMemAlloc_v2(Handle* address, size_t bytes) { *address = aligned_alloc(256, (bytes + 255) / 256 * 256); return 0; }
Result cuMemFree_v2(Handle address) { free(address); return 0; }
Result cuMemcpyHtoD_v2(Handle to, const void* from, size_t bytes) { memcpy(to, from, bytes); return 0; }
Result cuMemcpyDtoH_v2(Handle to, const void* from, size_t bytes) { memcpy(to, from, bytes); return 0; }
Result cuMemcpyDtoHAsync_v2(Handle to, const void* from, size_t bytes, Handle stream) { memcpy(to, from, bytes); return 0; }
Result cuMemsetD8Async(Handle to, unsigned char value, size_t bytes, Handle stream) { memset(to, value, bytes); return 0; }
Result cuMemsetD32Async(Handle to, unsigned value, size_t words, Handle stream) { return kNotFound; }
Result cuStreamCreate(Handle* stream, unsigned flags) { *stream = (Handle)0x3000; return flags == 1 ? 0 : kInvalidValue; }
Result cuStreamDestroy_v2(Handle stream) { return 0; }
Result cuStreamSynchronize(Handle stream) { return 0; }
Result cuEventCreate(Handle* event, unsigned flags) { *event = calloc(1, sizeof(struct timespec)); return 0; }
Result cuEventRecord(Handle event, Handle stream) { return clock_gettime(CLOCK_MONOTONIC, event) ? kInvalidValue : 0; }
Result cuEventSynchronize(Handle event) { return 0; }
Result cuEventElapsedTime(float* milliseconds, Handle start, Handle end) {
  const struct timespec *from = start, *to = end;
  *milliseconds = (float)((to->tv_sec - from->tv_sec) * 1e3 + (to->tv_nsec - from->tv_nsec) / 1e6);
  return 0;
}
Result cuEventDestroy_v2(Handle event) { free(event); return 0; }
Result cuStreamBeginCapture_v2(Handle stream, int mode) { return kNotFound; }
Result cuStreamEndCapture(Handle stream, Handle* graph) { return kNotFound; }
Result cuGraphInstantiateWithFlags(Handle* executable, Handle graph, unsigned long long flags) { return kNotFound; }
Result cuGraphLaunch(Handle executable, Handle stream) { return kNotFound; }
Result cuGraphDestroy(Handle graph) { return kNotFound; }
Result cuGraphExecDestroy(Handle executable) { return kNotFound; }
