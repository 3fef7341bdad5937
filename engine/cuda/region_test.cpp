// Runs region.h with a driver of its own, made of Linux's memory, in three processes: one makes
// memory and ends, one has it open meanwhile, and what is refused leaves nothing behind. Prints a
// line for each thing found.

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstring>

#include <ATen/Parallel.h>

// This program itself.
#define VQFARM_DRIVER nullptr
#include "region.h"

namespace {

const size_t STEP = 4096;
// What was made and not yet given back: memory, places of addresses, maps.
int memories = 0, places = 0, maps = 0;
// What the device does until it is waited for, and what was unmapped meanwhile.
bool busy = false;
int too_soon = 0;
// Which call fails.
const char* failing = "";

CUresult unless(const char* name) {
  return std::strcmp(name, failing) == 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

int file(CUmemGenericAllocationHandle memory) { return static_cast<int>(memory) - 1; }

CUresult adopted(CUmemGenericAllocationHandle* out, int descriptor) {
  *out = static_cast<CUmemGenericAllocationHandle>(descriptor + 1);
  memories++;
  return CUDA_SUCCESS;
}

void* at_address(CUdeviceptr address) { return reinterpret_cast<void*>(address); }

}  // namespace

extern "C" {

CUresult cuDeviceGet(CUdevice* out, int ordinal) {
  *out = ordinal;
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetUuid_v2(CUuuid* out, CUdevice device) {
  for (int i = 0; i < 16; i++) out->bytes[i] = static_cast<char>(240 + i + device);
  return CUDA_SUCCESS;
}
CUresult cuMemGetAllocationGranularity(size_t* out, const CUmemAllocationProp*,
                                       CUmemAllocationGranularity_flags) {
  *out = STEP;
  return CUDA_SUCCESS;
}
CUresult cuMemCreate(CUmemGenericAllocationHandle* out, size_t bytes, const CUmemAllocationProp*,
                     unsigned long long) {
  if (const auto failed = unless("create")) return failed;
  const int descriptor = memfd_create("memory", MFD_CLOEXEC);
  if (bytes % STEP != 0 || ftruncate(descriptor, static_cast<off_t>(bytes)) != 0)
    return CUDA_ERROR_INVALID_VALUE;
  return adopted(out, descriptor);
}
CUresult cuMemExportToShareableHandle(void* out, CUmemGenericAllocationHandle memory,
                                      CUmemAllocationHandleType, unsigned long long) {
  *static_cast<int*>(out) = dup(file(memory));
  return CUDA_SUCCESS;
}
CUresult cuMemImportFromShareableHandle(CUmemGenericAllocationHandle* out, void* handle,
                                        CUmemAllocationHandleType) {
  const int descriptor = dup(static_cast<int>(reinterpret_cast<std::uintptr_t>(handle)));
  return descriptor < 0 ? CUDA_ERROR_INVALID_VALUE : adopted(out, descriptor);
}
CUresult cuMemAddressReserve(CUdeviceptr* out, size_t bytes, size_t, CUdeviceptr, unsigned long long) {
  if (const auto failed = unless("reserve")) return failed;
  void* place = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *out = reinterpret_cast<CUdeviceptr>(place);
  places++;
  return CUDA_SUCCESS;
}
CUresult cuMemMap(CUdeviceptr address, size_t bytes, size_t, CUmemGenericAllocationHandle memory,
                  unsigned long long) {
  if (const auto failed = unless("map")) return failed;
  mmap(at_address(address), bytes, PROT_NONE, MAP_SHARED | MAP_FIXED, file(memory), 0);
  maps++;
  return CUDA_SUCCESS;
}
CUresult cuMemSetAccess(CUdeviceptr address, size_t bytes, const CUmemAccessDesc*, size_t) {
  if (const auto failed = unless("access")) return failed;
  mprotect(at_address(address), bytes, PROT_READ | PROT_WRITE);
  return CUDA_SUCCESS;
}
CUresult cuMemUnmap(CUdeviceptr address, size_t bytes) {
  too_soon += busy;
  mmap(at_address(address), bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  maps--;
  return CUDA_SUCCESS;
}
CUresult cuMemAddressFree(CUdeviceptr address, size_t bytes) {
  munmap(at_address(address), bytes);
  places--;
  return CUDA_SUCCESS;
}
CUresult cuMemRelease(CUmemGenericAllocationHandle memory) {
  close(file(memory));
  memories--;
  return CUDA_SUCCESS;
}
CUresult cuGetErrorString(CUresult, const char** out) {
  *out = "out of memory";
  return CUDA_SUCCESS;
}

}  // extern "C"

using vqfarm::Region;

static at::Tensor weights(const std::shared_ptr<Region>& region) {
  // By pixels, as convolutions of a GPU lie.
  return Region::tensor(region, 512, {2, 3, 4, 5}, {60, 1, 15, 3}, at::device(at::kCPU).dtype(at::kFloat));
}

static at::Tensor expected() { return at::arange(120, at::kFloat).view({2, 3, 4, 5}) * 0.5; }

static void idle() { busy = false; }

static void left(const char* when) {
  std::printf("%s: %d memories, %d places, %d maps, %d too soon\n", when, memories, places, maps,
              too_soon);
}

// The process that has it open: answers over the pipe when it has, and looks when told.
static void second(int descriptor, std::uint64_t bytes, int pipe) {
  const auto tensor = weights(Region::opened(0, descriptor, bytes, idle));
  close(descriptor);
  char told = tensor.equal(expected());
  (void)!write(pipe, &told, 1);
  // Until the maker is gone.
  (void)!read(pipe, &told, 1);
  std::printf("after the maker's end: %s\n", tensor.equal(expected()) ? "the same" : "lost");
}

static void maker(int pipe) {
  auto region = Region::made(0, 1000, idle);
  auto tensor = weights(region);
  tensor.copy_(expected());
  int descriptor = region->descriptor();
  (void)!write(pipe, &descriptor, sizeof descriptor);
  const auto bytes = region->bytes();
  // The descriptor travels by a fork here.
  int ends[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
  if (fork() == 0) {
    close(ends[0]);
    second(descriptor, bytes, ends[1]);
    std::fflush(stdout);
    _exit(0);
  }
  close(ends[1]);
  char same = 0;
  (void)!read(ends[0], &same, 1);
  std::printf("in another process: %s\n", same ? "the same" : "something else");
  std::fflush(stdout);
  _exit(0);
}

int main() {
  at::set_num_threads(1);
  std::printf("name: %s\n", vqfarm::uuid(0).c_str());
  {
    const auto region = Region::made(0, 1000, idle);
    auto tensor = weights(region);
    tensor.copy_(expected());
    left("made");
    try {
      Region::tensor(region, 4000, {25}, {1}, at::device(at::kCPU).dtype(at::kFloat));
    } catch (const c10::Error& error) {
      std::printf("refused: %s\n", error.what_without_backtrace());
    }
    busy = true;
  }
  left("given back");
  for (const char* call : {"create", "reserve", "map", "access"}) {
    failing = call;
    try {
      Region::made(0, 1000, idle);
    } catch (const c10::Error& error) {
      std::printf("refused: %s\n", error.what_without_backtrace());
    }
    left(call);
  }
  failing = "";
  std::fflush(stdout);
  int ends[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
  if (fork() == 0) maker(ends[1]);
  while (wait(nullptr) > 0) {
  }
}
