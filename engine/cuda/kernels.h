// Starts the kernels of norm.cuh and draws.cuh on a GPU. CUDA's own compiler is not there when this is
// built, so that they are compiled on the machine that has the GPU, by the library that PyTorch brings
// along.

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

#include "library.h"
#include "norm.h"

namespace vqfarm {

// A program of our own.
struct Code {
  // Tells programs apart.
  const char* name;
  std::string text;
  std::vector<const char*> options;
};

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
    find(create, library, "nvrtcCreateProgram");
    find(compile, library, "nvrtcCompileProgram");
    find(log_size, library, "nvrtcGetProgramLogSize");
    find(log, library, "nvrtcGetProgramLog");
    find(size, library, "nvrtcGetCUBINSize");
    find(binary, library, "nvrtcGetCUBIN");
    find(destroy, library, "nvrtcDestroyProgram");
  }

  // What a GPU of this architecture (90 for 9.0) runs.
  std::vector<char> compiled(const Code& code, int architecture) const {
    void* program = nullptr;
    TORCH_CHECK(create(&program, code.text.c_str(), code.name, 0, nullptr, nullptr) == 0, "nvrtc");
    const std::string target = "--gpu-architecture=sm_" + std::to_string(architecture);
    std::vector<const char*> options = {target.c_str(), "--std=c++17"};
    options.insert(options.end(), code.options.begin(), code.options.end());
    std::vector<char> text, result;
    const int failed = compile(program, static_cast<int>(options.size()), options.data());
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

// The code of norm.cuh, as the program brings it along.
inline std::string& kernel_code() {
  static std::string code;
  return code;
}

// A program's kernel for the current device. The program is compiled at the first call.
inline cudaKernel_t kernel(const Code& code, const char* name) {
  static std::mutex mutex;
  static std::map<std::pair<int, std::string>, cudaLibrary_t> all;
  int device = 0, major = 0, minor = 0;
  succeeded(cudaGetDevice(&device));
  succeeded(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  succeeded(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  const int architecture = 10 * major + minor;
  const std::lock_guard<std::mutex> guard(mutex);
  auto& library = all[{architecture, code.name}];
  if (library == nullptr) {
    const auto binary = compiler().compiled(code, architecture);
    succeeded(cudaLibraryLoadData(&library, binary.data(), nullptr, nullptr, 0, nullptr, nullptr, 0));
  }
  cudaKernel_t found = nullptr;
  succeeded(cudaLibraryGetKernel(&found, library, name));
  return found;
}

// Starts a program's kernel on the device of `like`, after what that was given before.
inline void start(const Code& code, const char* name, const at::Tensor& like, dim3 blocks,
                  unsigned threads, void** arguments) {
  const c10::cuda::CUDAGuard guard(like.device());
  const auto stream = c10::cuda::getCurrentCUDAStream(like.device().index());
  succeeded(cudaLaunchKernel(reinterpret_cast<const void*>(kernel(code, name)), blocks,
                             dim3(threads), arguments, 0, stream));
}

inline void launch(const char* name, const at::Tensor& like, unsigned chunks, unsigned pictures,
                   void** arguments) {
  static const auto of = [](int bf16) {
    return "#define VQFARM_BF16 " + std::to_string(bf16) + "\n" + kernel_code();
  };
  static const Code codes[] = {{"norm.cu", of(0), {}}, {"norm.cu in bf16", of(1), {}}};
  const auto& code = codes[like.scalar_type() == at::kBFloat16];
  start(code, name, like, dim3(chunks, pictures), 256, arguments);
}

// Draws the numbers of the iterations from `first` on into a table float64 [iterations, numbers],
// whose rows may lie apart, by a list and images as draws.cuh has them, float64 [steps, 16] and
// [images, 3], for `count` cutouts of `size` pixels of each image.
inline void draw(const Code& code, const at::Tensor& table, unsigned first, const at::Tensor& list,
                 const at::Tensor& images, unsigned count, double size) {
  for (const auto* each : {&table, &list, &images})
    TORCH_CHECK(each->scalar_type() == at::kDouble && each->dim() == 2 && each->is_cuda() &&
                    each->device() == table.device() && each->stride(1) == 1,
                "draws: matrices in float64, all on one GPU");
  TORCH_CHECK(list.size(1) == 16 && images.size(1) == 3 && list.is_contiguous() &&
                  images.is_contiguous(),
              "draws: records have another length");
  void *ptable = table.data_ptr(), *plist = list.data_ptr(), *pimages = images.data_ptr();
  long long stride = table.stride(0);
  unsigned rows = table.size(0), cutouts = images.size(0) * count;
  int steps = list.size(0);
  // Threads that take different ways gain nothing from sharing a block.
  const unsigned threads = 32, blocks = (rows * cutouts + threads - 1) / threads;
  void* arguments[] = {&ptable, &stride,  &rows,    &first, &plist,
                       &steps,  &pimages, &cutouts, &count, &size};
  if (blocks > 0) start(code, "vqfarm_draws", table, dim3(blocks), threads, arguments);
}

}  // namespace vqfarm
