// Runs the kernels of norm.cuh on the host, a thread for each of a block's, under the operation of
// norm.h, and compares it with libtorch's own operations. Prints a line for each case: what it is,
// and how far values and gradients are apart, as shares of the largest.

#include <barrier>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <ATen/Parallel.h>

#include "norm.h"

struct Index {
  unsigned x, y;
};
static thread_local Index threadIdx;
static Index blockIdx, gridDim;
static std::barrier<>* block;

static void __syncthreads() { block->arrive_and_wait(); }

static float __uint_as_float(unsigned bits) {
  float number;
  std::memcpy(&number, &bits, sizeof number);
  return number;
}

static unsigned __float_as_uint(float number) {
  unsigned bits;
  std::memcpy(&bits, &number, sizeof bits);
  return bits;
}

#define __device__
#define KERNEL static
#define __shared__ static

#define VQFARM_BF16 0
namespace in_float32 {
#include "norm.cuh"
}
#undef VQFARM_BF16
#define VQFARM_BF16 1
namespace in_bf16 {
#include "norm.cuh"
}

// Calls a kernel with what its arguments point to, as CUDA does.
template <class... As, size_t... Is>
void call(void (*kernel)(As...), void** arguments, std::index_sequence<Is...>) {
  kernel(*static_cast<As*>(arguments[Is])...);
}

template <class... As>
void call(void (*kernel)(As...), void** arguments) {
  call(kernel, arguments, std::index_sequence_for<As...>());
}

#define RUN(kernel)    \
  if (name == #kernel) \
    return bf16 ? call(in_bf16::kernel, arguments) : call(in_float32::kernel, arguments);

static void run(const std::string& name, bool bf16, void** arguments) {
  RUN(vqfarm_norm_sums)
  RUN(vqfarm_norm)
  RUN(vqfarm_norm_back_sums)
  RUN(vqfarm_norm_back)
  throw std::runtime_error("no kernel " + name);
}

void vqfarm::launch(const char* name, const at::Tensor& like, unsigned chunks, unsigned pictures,
                    void** arguments) {
  const unsigned THREADS = 256;
  const bool bf16 = like.scalar_type() == at::kBFloat16;
  gridDim = {chunks, pictures};
  std::barrier<> all(THREADS);
  block = &all;
  const auto thread = [&](unsigned number) {
    threadIdx = {number, 0};
    for (unsigned i = 0; i < chunks * pictures; i++) {
      if (number == 0) blockIdx = {i % chunks, i / chunks};
      all.arrive_and_wait();
      run(name, bf16, arguments);
      all.arrive_and_wait();
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < THREADS; i++) threads.emplace_back(thread, i);
  for (auto& each : threads) each.join();
}

static double apart(const at::Tensor& a, const at::Tensor& b) {
  const auto wide = b.to(at::kDouble);
  return ((a.to(at::kDouble) - wide).abs().max() / wide.abs().max()).item<double>();
}

// The same numbers among others that are none: whoever reads beside them has none either.
static at::Tensor fenced(const at::Tensor& x) {
  const auto none = at::full_like(x, std::nan(""));
  const auto format = x.suggest_memory_format();
  return at::cat({none, x, none}).contiguous(format).narrow(0, x.size(0), x.size(0));
}

// A case of these sizes, whose numbers lie around `middle`.
static void compare(at::IntArrayRef size, at::ScalarType kind, double middle, bool by_pixels) {
  at::manual_seed(7);
  const auto channels = size[1];
  auto x = (at::randn(size) * at::linspace(0.5, 2.0, channels).view({1, -1, 1, 1}) + middle).to(kind);
  if (by_pixels) x = x.contiguous(at::MemoryFormat::ChannelsLast);
  const auto scale = at::randn({channels}) + 1.0, shift = at::randn({channels});
  const auto dy = at::randn(size).to(kind).contiguous(x.suggest_memory_format());
  const auto ours = fenced(x).set_requires_grad(true);
  const auto y = vqfarm::NormSwish::apply(ours, scale, shift, 1e-6);
  y.backward(fenced(dy));
  // What both should be, from the same numbers.
  const auto theirs = x.to(at::kDouble).set_requires_grad(true);
  const auto s = at::group_norm(theirs, 32, scale.to(at::kDouble), shift.to(at::kDouble), 1e-6);
  const auto wanted = at::silu(s);
  wanted.backward(dy.to(at::kDouble));
  std::printf("{\"channels\": %lld, \"bf16\": %d, \"middle\": %g, \"value\": %g, \"gradient\": %g}\n",
              (long long)channels, kind == at::kBFloat16, middle, apart(y, wanted),
              apart(ours.grad(), theirs.grad()));
}

int main() {
  at::set_num_threads(1);
  for (const auto kind : {at::kFloat, at::kBFloat16})
    for (const double middle : {0.0, 20.0}) {
      compare({2, 128, 9, 7}, kind, middle, true);
      compare({1, 256, 5, 1}, kind, middle, false);
      compare({3, 512, 2, 3}, kind, middle, true);
      compare({1, 1024, 3, 3}, kind, middle, true);
      compare({1, 128, 1, 1}, kind, middle, true);
    }
}
