// Runs the kernel of draws.cuh on the host, a thread after another. Reads what its arguments are from
// the standard input: stride, rows, first iteration, cutouts of an image, their size, the list and
// the images, both with their lengths; prints the table.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

struct Index {
  unsigned x;
};
static Index threadIdx, blockIdx, blockDim = {32};

#define __device__
#define __noinline__
#define KERNEL static
namespace kernels {
#include "draws.cuh"
}

static double number() {
  double read;
  if (std::scanf("%lf", &read) != 1) std::exit(1);
  return read;
}

template <class Record>
static std::vector<Record> records() {
  std::vector<Record> all(static_cast<size_t>(number()));
  for (auto& record : all)
    for (size_t i = 0; i < sizeof(Record) / sizeof(double); i++)
      reinterpret_cast<double*>(&record)[i] = number();
  return all;
}

int main() {
  const auto stride = static_cast<long long>(number());
  const auto rows = static_cast<unsigned>(number()), first = static_cast<unsigned>(number());
  const auto count = static_cast<unsigned>(number());
  const auto size = number();
  const auto list = records<kernels::Step>();
  const auto images = records<kernels::Image>();
  const auto cutouts = static_cast<unsigned>(images.size()) * count;
  std::vector<double> table(stride * rows, std::nan(""));
  const unsigned blocks = (rows * cutouts + blockDim.x - 1) / blockDim.x;
  for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
    for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++)
      kernels::vqfarm_draws(table.data(), stride, rows, first, list.data(),
                            static_cast<int>(list.size()), images.data(), cutouts, count, size);
  for (const double each : table) std::printf("%.17g\n", each);
}
