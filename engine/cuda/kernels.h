// Starts the kernels of norm.cuh on a GPU. CUDA's own compiler is not there when this is built, so
// that they are compiled on the machine that has the GPU, by the library that PyTorch brings along.

#pragma once

#include <dlfcn.h>

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <ATen/Context.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include "norm.h"

namespace vqfarm {

// The few functions of nvrtc.h that are needed; each returns 0 or what failed.
struct Compiler {
  int (*create)(void** program, const char* code, const char* name, int, const char* const*,
                const char* const*);
  int (*compile)(void* program, int, const char* const* options);
  int (*log_size)(void* program, size_t*);
  int (*log)(void* program, char*);
  int (*size)(void* program, size_t*);
  int (*binary)(void* program, char*);
  int (*destroy)(void** program);

  explicit Compiler(void* library) {
    const auto function = [&](auto& pointer, const char* name) {
      pointer = reinterpret_cast<std::decay_t<decltype(pointer)>>(dlsym(library, name));
      TORCH_CHECK(pointer, "libnvrtc has no ", name);
    };
    function(create, "nvrtcCreateProgram");
    function(compile, "nvrtcCompileProgram");
    function(log_size, "nvrtcGetProgramLogSize");
    function(log, "nvrtcGetProgramLog");
    function(size, "nvrtcGetCUBINSize");
    function(binary, "nvrtcGetCUBIN");
    function(destroy, "nvrtcDestroyProgram");
  }

  // What a GPU of this architecture (90 for 9.0) runs.
  std::vector<char> compiled(const std::string& code, int architecture) const {
    void* program = nullptr;
    TORCH_CHECK(create(&program, code.c_str(), "norm.cu", 0, nullptr, nullptr) == 0, "nvrtc");
    const std::string target = "--gpu-architecture=sm_" + std::to_string(architecture);
    const char* options[] = {target.c_str(), "--std=c++17"};
    std::vector<char> text, result;
    const int failed = compile(program, 2, options);
    const auto read = [&](auto size_of, auto get, std::vector<char>& into) {
      size_t bytes = 0;
      if (size_of(program, &bytes) != 0) return;
      into.resize(bytes);
      get(program, into.data());
    };
    failed ? read(log_size, log, text) : read(size, binary, result);
    destroy(&program);
    TORCH_CHECK(!failed && !result.empty(), "nvrtc: ", std::string(text.begin(), text.end()));
    return result;
  }
};

// The compiler that libtorch compiles its own programs with, from beside it.
inline const Compiler& compiler() {
  static const Compiler found = [] {
    at::globalContext().getNVRTC();
    const auto name = "libnvrtc.so." + std::to_string(CUDART_VERSION / 1000);
    void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    TORCH_CHECK(library, name, ": ", dlerror());
    return Compiler(library);
  }();
  return found;
}

inline void succeeded(cudaError_t answer) {
  TORCH_CHECK(answer == cudaSuccess, "CUDA: ", cudaGetErrorString(answer));
}

// The code of the kernels, as the program brings it along.
inline std::string& kernel_code() {
  static std::string code;
  return code;
}

// The kernels for the current device and elements of a kind, compiled at the first call.
inline cudaLibrary_t kernels(bool bf16) {
  static std::mutex mutex;
  static std::map<std::pair<int, bool>, cudaLibrary_t> all;
  int device = 0, major = 0, minor = 0;
  succeeded(cudaGetDevice(&device));
  succeeded(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  succeeded(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  const int architecture = 10 * major + minor;
  const std::lock_guard<std::mutex> guard(mutex);
  auto& library = all[{architecture, bf16}];
  if (library == nullptr) {
    const auto code = "#define VQFARM_BF16 " + std::to_string(bf16) + "\n" + kernel_code();
    const auto binary = compiler().compiled(code, architecture);
    succeeded(cudaLibraryLoadData(&library, binary.data(), nullptr, nullptr, 0, nullptr, nullptr, 0));
  }
  return library;
}

inline void launch(const char* name, const at::Tensor& like, unsigned chunks, unsigned pictures,
                   void** arguments) {
  const c10::cuda::CUDAGuard guard(like.device());
  cudaKernel_t kernel = nullptr;
  succeeded(cudaLibraryGetKernel(&kernel, kernels(like.scalar_type() == at::kBFloat16), name));
  const auto stream = c10::cuda::getCurrentCUDAStream(like.device().index());
  succeeded(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(chunks, pictures),
                             dim3(256), arguments, 0, stream));
}

}  // namespace vqfarm
