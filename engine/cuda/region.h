// Memory of a GPU that several processes map: CUDA's own driver counts who holds it, so that it lives
// until the last one lets go, in whatever order they end. PyTorch's allocator has no part in it.

#pragma once

#include <dlfcn.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <cuda.h>

#include "library.h"

#ifndef VQFARM_DRIVER
#define VQFARM_DRIVER "libcuda.so.1"
#endif

namespace vqfarm {

// The few functions of cuda.h that are needed, of the driver that is there.
struct Driver {
  decltype(&cuDeviceGet) device;
  decltype(&cuDeviceGetUuid_v2) uuid;
  decltype(&cuMemGetAllocationGranularity) granularity;
  decltype(&cuMemCreate) create;
  decltype(&cuMemExportToShareableHandle) to_descriptor;
  decltype(&cuMemImportFromShareableHandle) from_descriptor;
  decltype(&cuMemAddressReserve) reserve;
  decltype(&cuMemMap) map;
  decltype(&cuMemSetAccess) set_access;
  decltype(&cuMemUnmap) unmap;
  decltype(&cuMemAddressFree) free;
  decltype(&cuMemRelease) release;
  decltype(&cuGetErrorString) error;

  explicit Driver(void* library) {
    find(device, library, "cuDeviceGet");
    find(uuid, library, "cuDeviceGetUuid_v2");
    find(granularity, library, "cuMemGetAllocationGranularity");
    find(create, library, "cuMemCreate");
    find(to_descriptor, library, "cuMemExportToShareableHandle");
    find(from_descriptor, library, "cuMemImportFromShareableHandle");
    find(reserve, library, "cuMemAddressReserve");
    find(map, library, "cuMemMap");
    find(set_access, library, "cuMemSetAccess");
    find(unmap, library, "cuMemUnmap");
    find(free, library, "cuMemAddressFree");
    find(release, library, "cuMemRelease");
    find(error, library, "cuGetErrorString");
  }

  void succeeded(CUresult answer, const char* what) const {
    if (answer == CUDA_SUCCESS) return;
    const char* text = nullptr;
    error(answer, &text);
    TORCH_CHECK(false, "CUDA, ", what, ": ", text ? text : "an unknown error");
  }
};

inline const Driver& driver() {
  static const Driver found = [] {
    void* library = dlopen(VQFARM_DRIVER, RTLD_NOW | RTLD_LOCAL);
    TORCH_CHECK(library, dlerror());
    return Driver(library);
  }();
  return found;
}

// What names a GPU, or a part of one, to all processes.
inline std::string uuid(int device) {
  CUuuid id;
  CUdevice handle = 0;
  driver().succeeded(driver().device(&handle, device), "a GPU");
  driver().succeeded(driver().uuid(&id, handle), "the GPU's name");
  std::string text;
  for (const char byte : id.bytes) {
    const char* digits = "0123456789abcdef";
    text += digits[static_cast<unsigned char>(byte) >> 4];
    text += digits[static_cast<unsigned char>(byte) & 15];
  }
  return text;
}

// Mapped memory of a device whose context is current.
class Region {
 public:
  // Waits until a device has done all that it was given.
  using Wait = std::function<void()>;

  // New memory of at least so many bytes. `wait` is called before it is unmapped: the last tensor in
  // it may be gone on the host while the device still reads it.
  static std::shared_ptr<Region> made(int device, std::uint64_t bytes, Wait wait) {
    const auto properties = of(device);
    size_t step = 0;
    driver().succeeded(
        driver().granularity(&step, &properties, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED),
        "the size of shared memory");
    auto region = std::shared_ptr<Region>(new Region((bytes + step - 1) / step * step, std::move(wait)));
    driver().succeeded(driver().create(&region->memory_, region->bytes_, &properties, 0),
                       "memory to be shared");
    region->created_ = true;
    region->mapped(properties.location);
    return region;
  }

  // Memory that another process made, of `bytes()` there. The descriptor stays the caller's.
  static std::shared_ptr<Region> opened(int device, int descriptor, std::uint64_t bytes, Wait wait) {
    auto region = std::shared_ptr<Region>(new Region(bytes, std::move(wait)));
    void* const handle = reinterpret_cast<void*>(static_cast<std::uintptr_t>(descriptor));
    driver().succeeded(driver().from_descriptor(&region->memory_, handle,
                                                CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR),
                       "another process's memory");
    region->created_ = true;
    region->mapped(of(device).location);
    return region;
  }

  ~Region() {
    if (mapped_) {
      // At the end of the process the driver may have gone before us.
      try {
        wait_();
      } catch (...) {
      }
      driver().unmap(address_, bytes_);
    }
    if (address_) driver().free(address_, bytes_);
    if (created_) driver().release(memory_);
  }

  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  std::uint64_t bytes() const { return bytes_; }

  // A new descriptor, by which other processes open it; the caller's to close.
  int descriptor() const {
    int descriptor = -1;
    driver().succeeded(driver().to_descriptor(&descriptor, memory_,
                                              CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0),
                       "memory for other processes");
    return descriptor;
  }

  // A tensor that lies in it from `offset` on, and holds it.
  static at::Tensor tensor(std::shared_ptr<Region> region, std::uint64_t offset,
                           at::IntArrayRef sizes, at::IntArrayRef strides,
                           at::TensorOptions options) {
    const auto last = at::detail::computeStorageNbytes(sizes, strides, options.dtype().itemsize());
    TORCH_CHECK(offset <= region->bytes_ && last <= region->bytes_ - offset,
                "a tensor beyond the memory that is shared");
    void* const start = reinterpret_cast<void*>(region->address_ + offset);
    return at::for_blob(start, sizes)
        .strides(strides)
        .deleter([region](void*) {})
        .options(options)
        .target_device(options.device())
        .make_tensor();
  }

 private:
  Region(std::uint64_t bytes, Wait wait) : bytes_(bytes), wait_(std::move(wait)) {}

  static CUmemAllocationProp of(int device) {
    CUmemAllocationProp properties = {};
    properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    properties.location.id = device;
    return properties;
  }

  void mapped(CUmemLocation location) {
    driver().succeeded(driver().reserve(&address_, bytes_, 0, 0, 0), "room for shared memory");
    driver().succeeded(driver().map(address_, bytes_, 0, memory_, 0), "shared memory");
    mapped_ = true;
    const CUmemAccessDesc access = {location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    driver().succeeded(driver().set_access(address_, bytes_, &access, 1), "use of shared memory");
  }

  std::uint64_t bytes_;
  Wait wait_;
  CUmemGenericAllocationHandle memory_ = 0;
  CUdeviceptr address_ = 0;
  bool created_ = false, mapped_ = false;
};

}  // namespace vqfarm
