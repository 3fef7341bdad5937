// GroupNorm and swish in one, as an operation that libtorch can take a gradient through. The
// kernels are those of norm.cuh; whoever includes this file defines how they are started.

#pragma once

#include <torch/csrc/autograd/custom_function.h>

#include <ATen/ATen.h>

namespace vqfarm {

// The first argument of every kernel, as norm.cuh has it.
struct Shape {
  long long positions;
  unsigned channels;
  float epsilon;
};

// Starts a kernel for elements like those of `like`, by blocks of 256 threads.
void launch(const char* kernel, const at::Tensor& like, unsigned chunks, unsigned pictures,
            void** arguments);

class NormSwish : public torch::autograd::Function<NormSwish> {
  using Context = torch::autograd::AutogradContext;
  using Tensors = torch::autograd::variable_list;

  // A multiple of what any GPU runs at once, few enough that adding up the chunks takes no time.
  static constexpr int64_t BLOCKS = 1024;
  static constexpr int64_t MOST_CHUNKS = 256;

  static int64_t chunks_of(const at::Tensor& x) {
    const int64_t rows = 256 / (x.size(1) / 4), positions = x.size(2) * x.size(3);
    const int64_t wanted = std::min(MOST_CHUNKS, BLOCKS / std::max<int64_t>(x.size(0), 1));
    return std::max<int64_t>(1, std::min(wanted, positions / rows));
  }

  static Shape shape_of(const at::Tensor& x, double epsilon) {
    const long long positions = x.size(2) * x.size(3);
    return {positions, static_cast<unsigned>(x.size(1)), static_cast<float>(epsilon)};
  }

 public:
  // Whether tensors of so many channels can be computed.
  static bool takes(int64_t channels) {
    return channels > 0 && channels % 128 == 0 && 1024 % channels == 0;
  }

  // x [B, C, H, W] in float32 or bfloat16; scale and shift [C], float32, take no gradient.
  static at::Tensor forward(Context* context, const at::Tensor& given, const at::Tensor& scale,
                            const at::Tensor& shift, double epsilon) {
    const auto kind = given.scalar_type();
    TORCH_CHECK(kind == at::kFloat || kind == at::kBFloat16, "norm: float32 or bfloat16");
    TORCH_CHECK(given.dim() == 4 && takes(given.size(1)), "norm: not for these channels");
    for (const auto* each : {&scale, &shift})
      TORCH_CHECK(each->scalar_type() == at::kFloat && each->is_contiguous() &&
                      each->numel() == given.size(1),
                  "norm: scale and shift are float32, one a channel");
    const auto x = given.contiguous(at::MemoryFormat::ChannelsLast);
    const auto pictures = x.size(0), chunks = chunks_of(x);
    const auto sums = at::empty({pictures, chunks, 32, 2}, scale.options());
    const auto moments = at::empty({pictures, 32, 2}, scale.options());
    const auto y = at::empty_like(x);
    auto shape = shape_of(x, epsilon);
    void *px = x.data_ptr(), *pscale = scale.data_ptr(), *pshift = shift.data_ptr(),
         *psums = sums.data_ptr(), *pmoments = moments.data_ptr(), *py = y.data_ptr();
    if (x.numel() > 0) {
      void* first[] = {&shape, &px, &psums};
      launch("vqfarm_norm_sums", x, chunks, pictures, first);
      void* second[] = {&shape, &px, &pscale, &pshift, &psums, &pmoments, &py};
      launch("vqfarm_norm", x, chunks, pictures, second);
    }
    context->save_for_backward({x, scale, shift, moments});
    context->saved_data["epsilon"] = epsilon;
    return y;
  }

  static Tensors backward(Context* context, Tensors gradients) {
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &scale = saved[1], &shift = saved[2], &moments = saved[3];
    const auto dy = gradients[0].to(x.scalar_type()).contiguous(at::MemoryFormat::ChannelsLast);
    const auto pictures = x.size(0), chunks = chunks_of(x);
    const auto sums = at::empty({pictures, chunks, 32, 2}, scale.options());
    const auto dx = at::empty_like(x);
    auto shape = shape_of(x, context->saved_data["epsilon"].toDouble());
    void *px = x.data_ptr(), *pdy = dy.data_ptr(), *pscale = scale.data_ptr(),
         *pshift = shift.data_ptr(), *pmoments = moments.data_ptr(), *psums = sums.data_ptr(),
         *pdx = dx.data_ptr();
    if (x.numel() > 0) {
      void* first[] = {&shape, &px, &pdy, &pscale, &pshift, &pmoments, &psums};
      launch("vqfarm_norm_back_sums", x, chunks, pictures, first);
      void* second[] = {&shape, &px, &pdy, &pscale, &pshift, &pmoments, &psums, &pdx};
      launch("vqfarm_norm_back", x, chunks, pictures, second);
    }
    return {dx, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace vqfarm
