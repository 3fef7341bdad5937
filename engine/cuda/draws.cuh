// Draws of many iterations at once: what CutsAhead::draw of vqfarm-engine draws for cutouts, from the
// same words, a thread for each cutout of each iteration.
//
// Compiled when it is first used, so there are no headers; plain C++ otherwise, so that the tests can
// run it anywhere. In double precision and without fused multiplications, in the host's own order:
// what is rounded to whole pixels comes out the same. What each step means is said where the host
// draws it, under engine/src/cutouts. A thread's own memory stays below the 1 kB that CUDA sets aside
// for it anyway; what many places call is not copied to each, which makes compiling take a second.

#ifndef KERNEL
#define KERNEL extern "C" __global__
#endif

typedef unsigned int Word;

const double PI = 3.14159265358979323846;

// Numbers of the cutouts' stream that all cutouts of an image share.
const Word SHARED = 0xFFFFFFFFu;

// vqfarm_core::rng's Stream.
struct Stream {
  // Counter, key, and the words of the block before.
  Word block, iteration, cutout, frame, key0, key1;
  Word words[4];
  unsigned left;

  __device__ __noinline__ Word word() {
    if (left == 0) {
      fill();
      block++;
      left = 4;
    }
    left--;
    return words[3 - left];
  }

  // Philox4x32-10.
  __device__ void fill() {
    Word c[4] = {block, iteration, cutout, frame}, k[2] = {key0, key1};
    for (int round = 0; round < 10; round++) {
      const unsigned long long p0 = 0xD2511F53ull * c[0], p1 = 0xCD9E8D57ull * c[2];
      const Word next[4] = {(Word)(p1 >> 32) ^ c[1] ^ k[0], (Word)p1,
                            (Word)(p0 >> 32) ^ c[3] ^ k[1], (Word)p0};
      for (int i = 0; i < 4; i++) c[i] = next[i];
      k[0] += 0x9E3779B9u;
      k[1] += 0xBB67AE85u;
    }
    for (int i = 0; i < 4; i++) words[i] = c[i];
  }

  __device__ double uniform() { return (double)(word() >> 8) / 16777216.0; }
  __device__ double range(double low, double high) { return low + (high - low) * uniform(); }
  __device__ double either(double most) { return range(-most, most); }
  __device__ double below(double n) {
    return (double)(Word)((unsigned long long)word() * (Word)n >> 32);
  }
  __device__ bool chance(double p) { return uniform() < p; }
};

// A float64 record of the list, as engine/src/cutouts/list.rs writes it.
struct Step {
  double kind, purpose, coin, chance;
  // Where its numbers begin in a row, and how many there are for each cutout.
  double at, width;
  // How many moves from this on are one; 0 for one that is made alone.
  double run;
  double edge;
  double of[8];
};

enum Kind {
  CROP, NOISE_STRENGTH, FLIP, AFFINE, PERSPECTIVE, ROTATION, RESIZED_CROP, SHIFT, JITTER,
  JITTER_IN_KORNIA, SHARPNESS, NOISE, ELASTIC, THIN_PLATE, THIN_PLATE_IN_KORNIA, ERASE
};
enum Coin { ALWAYS, EACH, IMAGE };
enum Edge { BORDER, ZEROS, REFLECT };

// An image's seed and frame.
struct Image {
  double seed_low, seed_high, frame;
};

// Whose numbers a thread draws.
struct Cutout {
  Image image;
  Word number, iteration;
  double size;
};

// Whether a step falls on a cutout, and what it is drawn from then.
struct Drawn {
  bool falls;
  Stream own, shared;

  __device__ Drawn(const Step& step, const Cutout& cutout) {
    const Word key1 = (Word)cutout.image.seed_high ^ (Word)step.purpose * 0x85EBCA6Bu;
    const Word frame = (Word)cutout.image.frame, key0 = (Word)cutout.image.seed_low;
    own = {0, cutout.iteration, cutout.number, frame, key0, key1, {0, 0, 0, 0}, 0};
    shared = own;
    shared.cutout = SHARED;
    falls = step.coin == ALWAYS || (step.coin == EACH ? own : shared).chance(step.chance);
  }
};

// Where numbers go, one after another.
struct Out {
  double* at;
  __device__ void put(double number) { *at++ = number; }
  // As float32, in which they are used.
  __device__ void put_narrow(double number) { put((double)(float)number); }
};

// A.X = B, as augment/linear.rs solves it; false when A is singular. X takes B's place.
template <int R>
__device__ __noinline__ bool solve(double (&a)[8][8], double (&b)[8][R]) {
  for (int column = 0; column < 8; column++) {
    int pivot = column;
    for (int i = column; i < 8; i++)
      if (fabs(a[i][column]) >= fabs(a[pivot][column])) pivot = i;
    for (int j = 0; j < 8; j++) {
      const double x = a[column][j];
      a[column][j] = a[pivot][j];
      a[pivot][j] = x;
    }
    for (int j = 0; j < R; j++) {
      const double x = b[column][j];
      b[column][j] = b[pivot][j];
      b[pivot][j] = x;
    }
    const double head = a[column][column];
    if (!(fabs(head) >= 1e-12 && fabs(head) <= 1.7976931348623157e308)) return false;
    for (int row = 0; row < 8; row++) {
      if (row == column) continue;
      const double factor = a[row][column] / head;
      for (int j = column; j < 8; j++) a[row][j] -= factor * a[column][j];
      for (int j = 0; j < R; j++) b[row][j] -= factor * b[column][j];
    }
  }
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < R; j++) b[i][j] = b[i][j] / a[i][i];
  return true;
}

// augment/geometry.rs's Map.
struct Map {
  double m[3][3];

  __device__ Map then(const Map& next) const {
    Map both;
    for (int i = 0; i < 3; i++)
      for (int j = 0; j < 3; j++)
        both.m[i][j] =
            next.m[i][0] * m[0][j] + next.m[i][1] * m[1][j] + next.m[i][2] * m[2][j];
    return both;
  }

  __device__ Map inverse() const {
    Map back;
    for (int j = 0; j < 3; j++)
      for (int i = 0; i < 3; i++) {
        const int r = (i + 1) % 3, s = (i + 2) % 3, c = (j + 1) % 3, d = (j + 2) % 3;
        back.m[j][i] = m[r][c] * m[s][d] - m[r][d] * m[s][c];
      }
    return back;
  }

  __device__ void put(Out& out, double size) const {
    const double centre = (size - 1.0) / 2.0;
    const Map to_corner = {{{1, 0, centre}, {0, 1, centre}, {0, 0, 1}}};
    const Map to_centre = {{{1, 0, -centre}, {0, 1, -centre}, {0, 0, 1}}};
    const Map about = to_corner.then(*this).then(to_centre);
    for (int i = 0; i < 9; i++) out.put_narrow(about.m[i / 3][i % 3] / about.m[2][2]);
  }
};

__device__ Map identity() { return {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}}; }

__device__ Map about_centre(double factor, double size) {
  const double centre = (size - 1.0) / 2.0, shift = centre * (1.0 - factor);
  return {{{factor, 0, shift}, {0, factor, shift}, {0, 0, 1}}};
}

__device__ double radians(double degrees) { return degrees * (PI / 180.0); }

__device__ Map affine(double angle, double tx, double ty, double shear_x, double shear_y,
                      double size) {
  const double centre = (size - 1.0) / 2.0;
  const double s = sin(radians(angle)), c = cos(radians(angle));
  const double lean_x = tan(radians(shear_x)), lean_y = tan(radians(shear_y));
  const Map turn = {{{c, -s, (1.0 - c) * centre + s * centre + tx},
                     {s, c, -s * centre + (1.0 - c) * centre + ty},
                     {0, 0, 1}}};
  const Map shear = {{{1, -lean_x, lean_x * centre},
                      {-lean_y, 1.0 + lean_x * lean_y, lean_y * (lean_x * centre + centre)},
                      {0, 0, 1}}};
  return shear.then(turn).inverse();
}

__device__ Map corners(const double (&corner)[4][2], double size) {
  const double far = size - 1.0;
  const double places[4][2] = {{0, 0}, {far, 0}, {far, far}, {0, far}};
  double a[8][8], b[8][1];
  for (int i = 0; i < 4; i++) {
    const double x = corner[i][0], y = corner[i][1];
    for (int side = 0; side < 2; side++) {
      const double at = places[i][side];
      const double row[8] = {side ? 0 : x, side ? 0 : y, side ? 0.0 : 1.0, side ? x : 0,
                             side ? y : 0, side ? 1.0 : 0.0, -x * at, -y * at};
      for (int j = 0; j < 8; j++) a[2 * i + side][j] = row[j];
      b[2 * i + side][0] = at;
    }
  }
  if (!solve(a, b)) return identity();
  return {{{b[0][0], b[1][0], b[2][0]}, {b[3][0], b[4][0], b[5][0]}, {b[6][0], b[7][0], 1}}};
}

__device__ Map resized_crop(const Step& step, Stream& own, double size) {
  double width = size, height = rint(size * step.of[2]);
  if (height < 1.0) height = 1.0;
  for (int i = 0; i < 10; i++) {
    const double area = own.range(step.of[0], step.of[1]) * size * size;
    const double aspect = exp(own.range(log(step.of[2]), log(step.of[3])));
    const double w = rint(sqrt(area / aspect)), h = rint(sqrt(area * aspect));
    if (w > 0.0 && w < size && h > 0.0 && h < size) {
      width = w;
      height = h;
      break;
    }
  }
  const double far = size - 1.0 > 1.0 ? size - 1.0 : 1.0;
  const double x = own.below(size - width + 1.0), y = own.below(size - height + 1.0);
  return {{{(width - 1.0) / far, 0, x}, {0, (height - 1.0) / far, y}, {0, 0, 1}}};
}

// augment/moves.rs's Move::draw.
__device__ Map move(const Step& step, Stream& own, double size) {
  const double far = size - 1.0, stretch = size / (far > 1.0 ? far : 1.0);
  switch ((int)step.kind) {
    case FLIP:
      return {{{-1, 0, far}, {0, 1, 0}, {0, 0, 1}}};
    case AFFINE: {
      const double angle = own.either(step.of[0]);
      const double tx = own.either(step.of[1] * size), ty = own.either(step.of[2] * size);
      const double shear_x = own.either(step.of[3]), shear_y = own.either(step.of[4]);
      const Map map = affine(angle, tx, ty, shear_x, shear_y, size);
      if (step.of[5] == 0.0) return map;
      return about_centre(1.0 / stretch, size).then(map).then(about_centre(stretch, size));
    }
    case PERSPECTIVE: {
      const double most = step.of[0] * size / 2.0;
      double corner[4][2] = {{0, 0}, {far, 0}, {far, far}, {0, far}};
      for (int i = 0; i < 4; i++)
        for (int side = 0; side < 2; side++) {
          const double at = corner[i][side], inwards = own.range(0.0, most);
          corner[i][side] = at == 0.0 ? inwards : at - inwards;
        }
      const Map map = corners(corner, size);
      return step.of[1] == 0.0 ? map : map.then(about_centre(stretch, size));
    }
    case ROTATION:
      return affine(-own.either(step.of[0]), 0, 0, 0, 0, size);
    case RESIZED_CROP:
      return resized_crop(step, own, size);
    default: {
      const double most = step.of[0];
      const double x = own.below(2.0 * most + 1.0) - most, y = own.below(2.0 * most + 1.0) - most;
      return {{{1, 0, x}, {0, 1, y}, {0, 0, 1}}};
    }
  }
}

// The numbers of augment/composed.rs's Composed.
__device__ void moves(const Step* steps, const Cutout& cutout, Out& out) {
  Map last = identity();
  for (int k = (int)steps[0].run - 1; k >= 0; k--) {
    const Step& step = steps[k];
    Drawn drawn(step, cutout);
    if (drawn.falls) last = last.then(move(step, drawn.own, cutout.size));
    if (step.edge == BORDER) continue;
    last.put(out, cutout.size);
    out.put(drawn.falls ? 0.0 : 1.0);
    if (step.edge == REFLECT) last = identity();
  }
  last.put(out, cutout.size);
}

// augment/colour.rs's Jitter.
__device__ void jitter(const Step& step, Drawn& drawn, Out& out) {
  double factor[4] = {1, 1, 1, 1};
  for (int i = 0; i < 4 && drawn.falls; i++)
    factor[i] = drawn.own.range(1.0 - step.of[i], 1.0 + step.of[i]);
  const double hue = (factor[3] - 1.0) * 2.0 * PI, s = sin(hue), c = cos(hue);
  const double even = (1.0 - c) / 3.0, odd = s / sqrt(3.0), luma[3] = {0.299, 0.587, 0.114};
  double turn[3][3];
  for (int i = 0; i < 3; i++) {
    turn[i][i] = even + c;
    turn[i][(i + 1) % 3] = even - odd;
    turn[i][(i + 2) % 3] = even + odd;
  }
  const double gain = factor[0] * factor[1], saturation = factor[2];
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) {
      double sum = 0.0;
      for (int k = 0; k < 3; k++)
        sum += ((i == k ? saturation : 0.0) + (1.0 - saturation) * luma[k]) * turn[k][j];
      out.put_narrow(gain * sum);
    }
  out.put_narrow(0.5 * (1.0 - factor[1]));
}

__device__ double clamped(double x) { return x < 0.0 ? 0.0 : x > 1.0 ? 1.0 : x; }

// augment/jitter.rs's AnyOrder.
__device__ void jitter_in_kornia(const Step& step, Drawn& drawn, Out& out) {
  const double infinity = 1.0 / 0.0;
  // Gain, what is added, lowest and highest of each line; factors and whether they apply.
  double lines[4][4], saturations[2][2] = {{0, 0}, {0, 0}}, hue[2] = {0, 0};
  for (int i = 0; i < 4; i++) {
    lines[i][0] = 1.0;
    lines[i][1] = 0.0;
    lines[i][2] = -infinity;
    lines[i][3] = infinity;
  }
  if (drawn.falls) {
    const double middles[4] = {0, 1, 1, 0};
    double parameters[4];
    for (int i = 0; i < 4; i++) {
      const double reach = i == 3 ? step.of[3] * 2.0 * PI : step.of[i];
      parameters[i] = (double)(float)drawn.own.range(middles[i] - reach, middles[i] + reach);
    }
    int left[4] = {0, 1, 2, 3}, order[4], place[4];
    for (int i = 0; i < 4; i++) {
      const int which = (int)drawn.shared.below(4.0 - i);
      order[i] = left[which];
      left[which] = left[3 - i];
      place[order[i]] = i;
    }
    const int late = place[2] > place[3];
    saturations[late][0] = parameters[2];
    saturations[late][1] = 1.0;
    hue[0] = parameters[3];
    hue[1] = 1.0;
    int number = late;
    for (int i = 0; i < 4; i++) {
      if (order[i] > 1) {
        number++;
        continue;
      }
      const double gain = order[i] == 0 ? 1.0 : parameters[1];
      const double add = order[i] == 0 ? parameters[0] : 0.0;
      double* line = lines[number];
      line[0] = gain * line[0];
      line[1] = gain * line[1] + add;
      line[2] = clamped(gain * line[2] + add);
      line[3] = clamped(gain * line[3] + add);
    }
  }
  for (int i = 0; i < 16; i++) out.put(lines[i / 4][i % 4]);
  for (int i = 0; i < 4; i++) out.put(saturations[i / 2][i % 2]);
  for (int i = 0; i < 2; i++) out.put(hue[i]);
}

// augment/bend.rs's ThinPlate.
__device__ void thin_plate(const Step& step, Drawn& drawn, Out& out) {
  const bool in_kornia = step.kind == THIN_PLATE_IN_KORNIA;
  const double held[5][2] = {{-1, -1}, {-1, 1}, {1, -1}, {1, in_kornia ? -1.0 : 1.0}, {0, 0}};
  out.put(drawn.falls ? 1.0 : 0.0);
  if (!drawn.falls) {
    for (int i = 0; i < 26; i++) out.put(0.0);
    return;
  }
  double moved[5][2];
  for (int i = 0; i < 10; i++)
    moved[i / 2][i % 2] =
        held[i / 2][i % 2] + (in_kornia ? drawn.own : drawn.shared).either(step.of[0]);
  const double(*centres)[2] = in_kornia ? held : moved;
  double a[8][8], b[8][2];
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < 8; j++) {
      // Which point, and which of 1, x and y where there is no distance.
      const int point = i < 5 ? i : j, flat = i < 5 ? j - 5 : i - 5;
      if (i < 5 && j < 5) {
        const double x = moved[i][0] - centres[j][0], y = moved[i][1] - centres[j][1];
        const double square = x * x + y * y;
        a[i][j] = 0.5 * square * log(square + 1e-8);
      } else {
        a[i][j] = i >= 5 && j >= 5 ? 0.0 : flat == 0 ? 1.0 : moved[point][flat - 1];
      }
    }
  for (int i = 0; i < 16; i++) b[i / 2][i % 2] = i < 10 ? held[i / 2][i % 2] : 0.0;
  const bool bends = solve(a, b);
  const double still[3][2] = {{0, 0}, {1, 0}, {0, 1}};
  for (int i = 0; i < 10; i++) out.put(bends ? centres[i / 2][i % 2] : 0.0);
  for (int i = 0; i < 10; i++) out.put(bends ? b[i / 2][i % 2] : 0.0);
  for (int i = 0; i < 6; i++) out.put(bends ? b[5 + i / 2][i % 2] : still[i / 2][i % 2]);
}

__device__ double side(double area, double size) {
  const double length = rint(sqrt(area));
  return length < 1.0 ? 1.0 : length > size ? size : length;
}

// augment/pixels.rs's Rectangle.
__device__ void erase(const Step& step, Drawn& drawn, double size, Out& out) {
  if (!drawn.falls) {
    for (int i = 0; i < 4; i++) out.put(0.0);
    return;
  }
  Stream& shared = drawn.shared;
  const double area = shared.range(step.of[0], step.of[1]) * (size * size), lowest = step.of[2];
  const double tall = shared.range(lowest, 1.0), wide = shared.range(1.0, 1.0 / lowest);
  const double aspect = shared.chance(0.5) ? tall : wide;
  const double height = side(area * aspect, size), width = side(area / aspect, size);
  out.put(shared.below(size - width + 1.0));
  out.put(shared.below(size - height + 1.0));
  out.put(width);
  out.put(height);
}

// crops.rs's Crop.
__device__ void crop(const Step& step, Stream& own, double cut, Out& out) {
  const double width = step.of[0], height = step.of[1], power = step.of[2];
  const double max = width < height ? width : height, min = max < cut ? max : cut;
  const double u = own.uniform();
  // A GPU's power need not be exact where the host's is.
  const double size = floor((power == 1.0 ? u : pow(u, power)) * (max - min) + min);
  out.put(size);
  out.put(own.below(width - size + 1.0));
  out.put(own.below(height - size + 1.0));
}

// Everything but moves that are one.
__device__ void draw(const Step& step, const Cutout& cutout, Out& out) {
  Drawn drawn(step, cutout);
  switch ((int)step.kind) {
    case CROP:
      return crop(step, drawn.own, cutout.size, out);
    case NOISE_STRENGTH:
      return out.put(drawn.own.range(0.0, step.of[0]));
    case JITTER:
      return jitter(step, drawn, out);
    case JITTER_IN_KORNIA:
      return jitter_in_kornia(step, drawn, out);
    case SHARPNESS:
      return out.put(drawn.falls ? drawn.own.range(step.of[0], step.of[1]) : 1.0);
    case NOISE:
      return out.put(drawn.falls ? step.of[0] : 0.0);
    case ELASTIC:
      return out.put(drawn.falls ? 1.0 : 0.0);
    case THIN_PLATE:
    case THIN_PLATE_IN_KORNIA:
      return thin_plate(step, drawn, out);
    case ERASE:
      return erase(step, drawn, cutout.size, out);
    default:
      return (drawn.falls ? move(step, drawn.own, cutout.size) : identity()).put(out, cutout.size);
  }
}

// Rows of `stride` numbers, of the iterations from `first` on, for `count` cutouts of `size` pixels
// of each image, drawn as the list says.
KERNEL void vqfarm_draws(double* table, long long stride, Word rows, Word first, const Step* list,
                         int steps, const Image* images, Word cutouts, Word count, double size) {
  const Word thread = blockIdx.x * blockDim.x + threadIdx.x;
  if (thread >= rows * cutouts) return;
  const Word row = thread / cutouts, number = thread % cutouts;
  const Cutout cutout = {images[number / count], number % count, first + row, size};
  for (int i = 0; i < steps;) {
    Out out = {table + row * stride + (long long)list[i].at + number * (long long)list[i].width};
    if (list[i].run > 0.0) {
      moves(list + i, cutout, out);
      i += (int)list[i].run;
    } else {
      draw(list[i], cutout, out);
      i++;
    }
  }
}
