/* A C program that runs a model with the native library, as a program in any language would:

     host libonnxruntime.so libonnx_intscale.so model.onnx M K A.bin Y.bin

   A.bin holds A [1, M, K] in float32; Y.bin receives the bytes of Y. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include "onnxruntime_c_api.h"

static const OrtApi* ort;

static void check(OrtStatus* status) {
  if (status == NULL) return;
  fprintf(stderr, "%s\n", ort->GetErrorMessage(status));
  exit(1);
}

static void require(int ok, const char* what) {
  if (ok) return;
  fprintf(stderr, "%s failed\n", what);
  exit(2);
}

int main(int argc, char** argv) {
  require(argc == 8, "usage");
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  require(library != NULL, "dlopen");
  const OrtApiBase* (*get_base)(void) = (const OrtApiBase* (*)(void))dlsym(library, "OrtGetApiBase");
  require(get_base != NULL, "dlsym");
  ort = get_base()->GetApi(ORT_API_VERSION);
  require(ort != NULL, "GetApi");

  OrtEnv* env;
  OrtSessionOptions* options;
  OrtSession* session;
  check(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "host", &env));
  check(ort->CreateSessionOptions(&options));
  check(ort->SetIntraOpNumThreads(options, 2));
  check(ort->RegisterCustomOpsLibrary_V2(options, argv[2]));
  check(ort->CreateSession(env, argv[3], options, &session));

  const int64_t shape[3] = {1, atoll(argv[4]), atoll(argv[5])};
  const size_t count = (size_t)(shape[1] * shape[2]);
  float* a = malloc(count * sizeof(float));
  FILE* file = fopen(argv[6], "rb");
  require(file != NULL && fread(a, sizeof(float), count, file) == count, "reading A");
  fclose(file);

  OrtMemoryInfo* memory;
  OrtValue *input, *output = NULL;
  check(ort->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory));
  check(ort->CreateTensorWithDataAsOrtValue(memory, a, count * sizeof(float), shape, 3, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &input));
  const char* input_names[] = {"A"};
  const char* output_names[] = {"Y"};
  check(ort->Run(session, NULL, input_names, (const OrtValue* const*)&input, 1, output_names, 1, &output));

  OrtTensorTypeAndShapeInfo* info;
  size_t elements;
  void* y;
  check(ort->GetTensorTypeAndShape(output, &info));
  check(ort->GetTensorShapeElementCount(info, &elements));
  check(ort->GetTensorMutableData(output, &y));
  file = fopen(argv[7], "wb");
  require(file != NULL && fwrite(y, sizeof(float), elements, file) == elements && fclose(file) == 0, "writing Y");

  /* Released in full: the custom-op library is unloaded here, and the process must still end. */
  ort->ReleaseTensorTypeAndShapeInfo(info);
  ort->ReleaseValue(output);
  ort->ReleaseValue(input);
  ort->ReleaseMemoryInfo(memory);
  ort->ReleaseSession(session);
  ort->ReleaseSessionOptions(options);
  ort->ReleaseEnv(env);
  free(a);
  return 0;
}
