// Functions of libraries that are there only on the machine with the GPU.

#pragma once

#include <dlfcn.h>

#include <type_traits>

#include <c10/util/Exception.h>

namespace vqfarm {

// Has `pointer` be the function of that name.
template <class F>
void find(F& pointer, void* library, const char* name) {
  pointer = reinterpret_cast<F>(dlsym(library, name));
  TORCH_CHECK(pointer, "a library lacks ", name);
}

}  // namespace vqfarm
