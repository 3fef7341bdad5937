// GroupNorm of 32 groups and swish in one, there and back, for tensors [B, P, C] whose channels lie
// side by side (NHWC):
//
//   n = (x - mean) / sqrt(variance + epsilon),   s = n * scale + shift,   y = s * sigmoid(s)
//
// by each group's mean and variance over its channels and all positions. Twice two kernels: the sums
// of each chunk of the positions, then the values. All sums are float32, added in the same order
// every time.
//
// Compiled when it is first used, so there are no headers; plain C++ otherwise, so that the tests can
// run it anywhere. VQFARM_BF16 says what an element is. A block has 256 threads, the grid is
// (chunks, B), C / 4 divides 256 and each group has a multiple of four channels.

#ifndef KERNEL
#define KERNEL extern "C" __global__
#endif

const unsigned THREADS = 256;
const unsigned GROUPS = 32;

// Four neighbouring channels, read and written at once.
#if VQFARM_BF16
typedef unsigned short Element;
struct alignas(8) Four {
  Element of[4];
};
__device__ float wide(Element e) { return __uint_as_float((unsigned)e << 16); }
// To the nearest, and to the even one of two; what is not a number stays so.
__device__ Element narrow(float f) {
  const unsigned bits = __float_as_uint(f);
  if (f != f) return 0x7FC0;
  return (Element)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}
#else
typedef float Element;
struct alignas(16) Four {
  Element of[4];
};
__device__ float wide(Element e) { return e; }
__device__ Element narrow(float f) { return f; }
#endif

// What kernels read and write; none of it overlaps.
typedef const Element* __restrict__ Elements;
typedef Element* __restrict__ Result;
typedef const float* __restrict__ Numbers;
typedef float* __restrict__ Sums;

struct Shape {
  long long positions;
  unsigned channels;
  float epsilon;
};

// What a block and a thread of it look at.
struct Part {
  // Positions from `begin` to `end`, of which this thread takes every `rows`th from `begin` + `row` on.
  long long begin, end;
  unsigned row, rows;
  // Which four channels, and their group.
  unsigned four, group;
  // Groups of four channels of all channels, and of one group.
  unsigned fours, fours_of_group;
  // Where the picture begins, in groups of four channels, and numbers of one group.
  long long first;
  float count;
};

__device__ Part part_of(const Shape& shape) {
  Part part;
  const long long chunk = blockIdx.x, chunks = gridDim.x;
  part.begin = shape.positions * chunk / chunks;
  part.end = shape.positions * (chunk + 1) / chunks;
  part.fours = shape.channels / 4;
  part.fours_of_group = part.fours / GROUPS;
  part.rows = THREADS / part.fours;
  part.row = threadIdx.x / part.fours;
  part.four = threadIdx.x % part.fours;
  part.group = part.four / part.fours_of_group;
  part.first = blockIdx.y * shape.positions * part.fours;
  part.count = (float)(shape.positions * (shape.channels / GROUPS));
  return part;
}

__device__ long long place(const Part& part, long long position) {
  return part.first + position * part.fours + part.four;
}

// Adds two numbers of each thread by group and writes them to `sums` [B, chunks, 32, 2].
__device__ void add_up(const Part& part, float a, float b, float* sums) {
  __shared__ float all[2][THREADS];
  all[0][threadIdx.x] = a;
  all[1][threadIdx.x] = b;
  __syncthreads();
  if (threadIdx.x >= 2 * GROUPS) return;
  const unsigned which = threadIdx.x / GROUPS, group = threadIdx.x % GROUPS;
  float sum = 0;
  for (unsigned row = 0; row < part.rows; row++)
    for (unsigned i = 0; i < part.fours_of_group; i++)
      sum += all[which][row * part.fours + group * part.fours_of_group + i];
  sums[((blockIdx.y * gridDim.x + blockIdx.x) * GROUPS + group) * 2 + which] = sum;
}

// The sums of all chunks of the picture, for every group.
struct Totals {
  float of[2][GROUPS];
};

__device__ void add_chunks(const float* sums, Totals& totals) {
  const unsigned PARTS = THREADS / (2 * GROUPS);
  __shared__ float all[PARTS][2 * GROUPS];
  const unsigned one = threadIdx.x % (2 * GROUPS), part = threadIdx.x / (2 * GROUPS);
  float sum = 0;
  for (unsigned chunk = part; chunk < gridDim.x; chunk += PARTS)
    sum += sums[(blockIdx.y * gridDim.x + chunk) * 2 * GROUPS + one];
  all[part][one] = sum;
  __syncthreads();
  if (part == 0) {
    for (unsigned i = 1; i < PARTS; i++) sum += all[i][one];
    totals.of[one % 2][one / 2] = sum;
  }
  __syncthreads();
}

// A number of the group: sums of differences from it keep their digits.
__device__ float about(const Shape& shape, const Part& part, unsigned group, const Element* x) {
  return wide(x[part.first * 4 + group * (shape.channels / GROUPS)]);
}

__device__ float sigmoid(float s) { return 1.0f / (1.0f + expf(-s)); }

KERNEL void vqfarm_norm_sums(Shape shape, Elements x, Sums sums) {
  const Part part = part_of(shape);
  const float middle = about(shape, part, part.group, x);
  float sum = 0, squares = 0;
#pragma unroll 4
  for (long long p = part.begin + part.row; p < part.end; p += part.rows) {
    const Four values = ((const Four*)x)[place(part, p)];
    for (int i = 0; i < 4; i++) {
      const float apart = wide(values.of[i]) - middle;
      sum += apart;
      squares += apart * apart;
    }
  }
  add_up(part, sum, squares, sums);
}

// `moments` [B, 32, 2]: each group's mean, and one over its deviation.
KERNEL void vqfarm_norm(Shape shape, Elements x, Numbers scale, Numbers shift,
                                       Numbers sums, Sums moments, Result y) {
  const Part part = part_of(shape);
  __shared__ Totals totals;
  add_chunks(sums, totals);
  if (threadIdx.x < GROUPS) {
    const unsigned group = threadIdx.x;
    const float mean = totals.of[0][group] / part.count;
    const float variance = fmaxf(totals.of[1][group] / part.count - mean * mean, 0.0f);
    totals.of[0][group] = about(shape, part, group, x) + mean;
    totals.of[1][group] = 1.0f / sqrtf(variance + shape.epsilon);
    if (blockIdx.x == 0)
      for (int i = 0; i < 2; i++)
        moments[(blockIdx.y * GROUPS + group) * 2 + i] = totals.of[i][group];
  }
  __syncthreads();
  // s = x * factor + rest
  float factor[4], rest[4];
  for (int i = 0; i < 4; i++) {
    factor[i] = totals.of[1][part.group] * scale[part.four * 4 + i];
    rest[i] = shift[part.four * 4 + i] - totals.of[0][part.group] * factor[i];
  }
#pragma unroll 4
  for (long long p = part.begin + part.row; p < part.end; p += part.rows) {
    Four values = ((const Four*)x)[place(part, p)];
    for (int i = 0; i < 4; i++) {
      const float s = wide(values.of[i]) * factor[i] + rest[i];
      values.of[i] = narrow(s * sigmoid(s));
    }
    ((Four*)y)[place(part, p)] = values;
  }
}

// What the gradient on y is on n, for four channels of a position.
struct Back {
  float mean, one_over, scale[4], shift[4];

  __device__ void at(const Four& x, const Four& dy, float n[4], float dn[4]) const {
    for (int i = 0; i < 4; i++) {
      n[i] = (wide(x.of[i]) - mean) * one_over;
      const float s = n[i] * scale[i] + shift[i], share = sigmoid(s);
      dn[i] = wide(dy.of[i]) * share * (1.0f + s * (1.0f - share)) * scale[i];
    }
  }
};

__device__ Back back_of(const Part& part, const float* scale, const float* shift,
                        const float* moments) {
  Back back;
  back.mean = moments[(blockIdx.y * GROUPS + part.group) * 2];
  back.one_over = moments[(blockIdx.y * GROUPS + part.group) * 2 + 1];
  for (int i = 0; i < 4; i++) {
    back.scale[i] = scale[part.four * 4 + i];
    back.shift[i] = shift[part.four * 4 + i];
  }
  return back;
}

KERNEL void vqfarm_norm_back_sums(Shape shape, Elements x, Elements dy,
                                                 Numbers scale, Numbers shift, Numbers moments,
                                                 Sums sums) {
  const Part part = part_of(shape);
  const Back back = back_of(part, scale, shift, moments);
  float sum = 0, along = 0;
#pragma unroll 4
  for (long long p = part.begin + part.row; p < part.end; p += part.rows) {
    float n[4], dn[4];
    back.at(((const Four*)x)[place(part, p)], ((const Four*)dy)[place(part, p)], n, dn);
    for (int i = 0; i < 4; i++) {
      sum += dn[i];
      along += dn[i] * n[i];
    }
  }
  add_up(part, sum, along, sums);
}

KERNEL void vqfarm_norm_back(Shape shape, Elements x, Elements dy, Numbers scale,
                                            Numbers shift, Numbers moments, Numbers sums,
                                            Result dx) {
  const Part part = part_of(shape);
  __shared__ Totals totals;
  add_chunks(sums, totals);
  const Back back = back_of(part, scale, shift, moments);
  const float mean = totals.of[0][part.group] / part.count;
  const float along = totals.of[1][part.group] / part.count;
#pragma unroll 4
  for (long long p = part.begin + part.row; p < part.end; p += part.rows) {
    float n[4], dn[4];
    back.at(((const Four*)x)[place(part, p)], ((const Four*)dy)[place(part, p)], n, dn);
    Four out;
    for (int i = 0; i < 4; i++) out.of[i] = narrow(back.one_over * (dn[i] - mean - n[i] * along));
    ((Four*)dx)[place(part, p)] = out;
  }
}
