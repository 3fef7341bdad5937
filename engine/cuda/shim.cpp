// What tch does not wrap of libtorch's CUDA side: graphs, streams, the allocator's figures,
// programs of our own, memory that processes share.
//
// A C interface, so that names and types stay plain. Built into a library of its own whose
// libtorch symbols stay open: it is loaded after libtorch_cuda.so, which has them, and so the
// program itself needs no CUDA. Every function but those named `…_free` returns null, or the
// message of what failed, which is valid until the thread's next call.

#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/cuda/CUDAGraph.h>
#include <ATen/cuda/jiterator.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

#include "kernels.h"
#include "region.h"

namespace {

using at::cuda::CUDAGraph;
using c10::DeviceIndex;
using c10::cuda::CUDAEvent;
using c10::cuda::CUDAStream;

thread_local std::string message;

// No exception may cross into Rust.
template <class F>
const char* caught(F work) {
  try {
    work();
    return nullptr;
  } catch (const c10::Error& error) {
    message = error.what_without_backtrace();
  } catch (const std::exception& error) {
    message = error.what();
  } catch (...) {
    message = "an unknown exception";
  }
  return message.c_str();
}

// The thread's `number`th stream beside the default one, always the same: memory that was used on
// one stream is not reused on another.
CUDAStream own_stream(DeviceIndex device, size_t number) {
  thread_local std::map<DeviceIndex, std::vector<CUDAStream>> streams;
  auto& own = streams[device];
  while (own.size() <= number) own.push_back(c10::cuda::getStreamFromPool(false, device));
  return own[number];
}

// `later` starts when everything that `earlier` has been given so far is done.
void wait(const CUDAStream& later, const CUDAStream& earlier) {
  CUDAEvent reached;
  reached.record(earlier);
  reached.block(later);
}

// A graph and, while it is being captured, the stream that was current before.
struct Graph {
  CUDAGraph graph;
  CUDAStream before;
  CUDAStream capturing;
};

// Makes a device the driver's current one, and starts it if nothing has yet.
struct Current {
  c10::cuda::CUDAGuard guard;
  explicit Current(int device) : guard(static_cast<DeviceIndex>(device)) {
    at::globalContext().lazyInitDevice(at::kCUDA);
    vqfarm::succeeded(cudaFree(nullptr));
  }
};

void synchronize(int device) {
  const c10::cuda::CUDAGuard guard(static_cast<DeviceIndex>(device));
  c10::cuda::device_synchronize();
}

// One holder of memory that processes share.
struct Shared {
  std::shared_ptr<vqfarm::Region> region;
};

// Streams beside the current one that were forked from it.
struct Lanes {
  CUDAStream before;
  std::vector<CUDAStream> streams;
};

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

// Begins to capture what this thread gives to `device`, and makes a stream of its own current:
// the default one cannot be captured. Other threads may go on with theirs.
const char* vqfarm_graph_begin(int device, void** out) {
  return caught([&] {
    const auto index = static_cast<DeviceIndex>(device);
    const auto before = c10::cuda::getCurrentCUDAStream(index);
    const auto capturing = own_stream(index, 0);
    auto graph = std::unique_ptr<Graph>(new Graph{CUDAGraph(), before, capturing});
    wait(capturing, before);
    c10::cuda::setCurrentCUDAStream(capturing);
    try {
      graph->graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    } catch (...) {
      c10::cuda::setCurrentCUDAStream(before);
      throw;
    }
    *out = graph.release();
  });
}

// Ends the capture, also one that failed, and makes the stream from before current again.
const char* vqfarm_graph_end(void* handle) {
  return caught([&] {
    auto* graph = static_cast<Graph*>(handle);
    // A computation that threw may have left another stream current.
    c10::cuda::setCurrentCUDAStream(graph->capturing);
    try {
      graph->graph.capture_end();
    } catch (...) {
      c10::cuda::setCurrentCUDAStream(graph->before);
      throw;
    }
    c10::cuda::setCurrentCUDAStream(graph->before);
  });
}

// Runs the captured work once more on the current stream.
const char* vqfarm_graph_replay(void* handle) {
  return caught([&] { static_cast<Graph*>(handle)->graph.replay(); });
}

void vqfarm_graph_free(void* handle) {
  caught([&] { delete static_cast<Graph*>(handle); });
}

// Makes `count` streams that start where the current one of `device` is.
const char* vqfarm_lanes_fork(int device, int count, void** out) {
  return caught([&] {
    const auto index = static_cast<DeviceIndex>(device);
    auto lanes = std::unique_ptr<Lanes>(new Lanes{c10::cuda::getCurrentCUDAStream(index), {}});
    for (int i = 0; i < count; i++) {
      lanes->streams.push_back(own_stream(index, i + 1));
      wait(lanes->streams.back(), lanes->before);
    }
    *out = lanes.release();
  });
}

// Gives what this thread does from now on to one of the streams.
const char* vqfarm_lanes_take(void* handle, int lane) {
  return caught([&] {
    c10::cuda::setCurrentCUDAStream(static_cast<Lanes*>(handle)->streams.at(lane));
  });
}

// Goes on with the stream from before once all of them are done, and frees the handle.
const char* vqfarm_lanes_join(void* handle) {
  return caught([&] {
    const std::unique_ptr<Lanes> lanes(static_cast<Lanes*>(handle));
    c10::cuda::setCurrentCUDAStream(lanes->before);
    for (const auto& stream : lanes->streams) wait(lanes->before, stream);
  });
}

// Bytes that tensors hold now and held at most, and that the allocator holds now and at most.
const char* vqfarm_memory(int device, std::uint64_t out[4]) {
  return caught([&] {
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(static_cast<DeviceIndex>(device));
    const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    out[0] = stats.allocated_bytes[all].current;
    out[1] = stats.allocated_bytes[all].peak;
    out[2] = stats.reserved_bytes[all].current;
    out[3] = stats.reserved_bytes[all].peak;
  });
}

// Counts both peaks from now on.
const char* vqfarm_memory_reset_peak(int device) {
  return caught([&] {
    c10::cuda::CUDACachingAllocator::resetPeakStats(static_cast<DeviceIndex>(device));
  });
}

// Gives unused memory of all devices back to the driver.
const char* vqfarm_memory_empty_cache() {
  return caught([] { c10::cuda::CUDACachingAllocator::emptyCache(); });
}

// Waits for everything that `device` was given.
const char* vqfarm_synchronize(int device) {
  return caught([&] { synchronize(device); });
}

// Runs `name`, a function template in `code` of one value of each input, on every element of these
// tensors of one kind, broadcast. Compiled at the first call. The result is a new tensor of that
// kind, to be freed by the caller.
const char* vqfarm_each(const char* code, const char* name, int count, void* const* inputs,
                        void** out) {
  return caught([&] {
    c10::SmallVector<at::Tensor> tensors;
    for (int i = 0; i < count; i++) tensors.push_back(*static_cast<at::Tensor*>(inputs[i]));
    auto outputs = at::cuda::CompileAndLaunchKernel(code, name, 1, tensors, {}, false);
    *out = new at::Tensor(outputs.front());
  });
}

// GroupNorm and swish in one (norm.h), by kernels that `code` holds, norm.cuh. The result is a new
// tensor, to be freed by the caller.
const char* vqfarm_norm_swish(const char* code, void* x, void* scale, void* shift, double epsilon,
                              void** out) {
  return caught([&] {
    // Once: threads may call at the same time, and all with the same code.
    static const bool told = (vqfarm::kernel_code() = code, true);
    (void)told;
    const auto tensor = [](void* pointer) { return *static_cast<at::Tensor*>(pointer); };
    *out = new at::Tensor(
        vqfarm::NormSwish::apply(tensor(x), tensor(scale), tensor(shift), epsilon));
  });
}

// Draws numbers for cutouts (kernels.h) by the kernel that `code` holds, draws.cuh, compiled without
// fused multiplications, as the host rounds.
const char* vqfarm_draws(const char* code, void* table, std::uint32_t first, void* list,
                         void* images, std::uint32_t count, double size) {
  return caught([&] {
    // Once, as above.
    static const vqfarm::Code program{"draws.cu", code, {"--fmad=false"}};
    const auto tensor = [](void* pointer) { return *static_cast<at::Tensor*>(pointer); };
    vqfarm::draw(program, tensor(table), first, tensor(list), tensor(images), count, size);
  });
}

// What names a GPU to all other processes as well: 32 hexadecimal digits and a null.
const char* vqfarm_uuid(int device, char out[33]) {
  return caught([&] {
    const Current current(device);
    out[vqfarm::uuid(device).copy(out, 32)] = '\0';
  });
}

// Memory that other processes can map (region.h): new where `descriptor` is -1, and then `bytes`
// becomes what there is of it; else what a process made.
const char* vqfarm_region(int device, int descriptor, std::uint64_t* bytes, void** out) {
  return caught([&] {
    const Current current(device);
    const auto wait = [device] { synchronize(device); };
    auto region = descriptor < 0 ? vqfarm::Region::made(device, *bytes, wait)
                                 : vqfarm::Region::opened(device, descriptor, *bytes, wait);
    *bytes = region->bytes();
    *out = new Shared{std::move(region)};
  });
}

const char* vqfarm_region_descriptor(void* handle, int* out) {
  return caught([&] { *out = static_cast<Shared*>(handle)->region->descriptor(); });
}

// A tensor of float32 or bf16 on `device` that lies in a region and holds it, to be freed by the
// caller.
const char* vqfarm_region_tensor(void* handle, int device, std::uint64_t offset, int bf16,
                                 int dimensions, const std::int64_t* sizes,
                                 const std::int64_t* strides, void** out) {
  return caught([&] {
    const auto count = static_cast<size_t>(dimensions);
    const auto options =
        at::device({at::kCUDA, static_cast<DeviceIndex>(device)}).dtype(bf16 ? at::kBFloat16 : at::kFloat);
    *out = new at::Tensor(vqfarm::Region::tensor(static_cast<Shared*>(handle)->region, offset,
                                                 {sizes, count}, {strides, count}, options));
  });
}

void vqfarm_region_free(void* handle) {
  caught([&] { delete static_cast<Shared*>(handle); });
}

}  // extern "C"
#pragma GCC visibility pop
