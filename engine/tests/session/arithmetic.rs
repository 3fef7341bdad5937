//! What rendering computes in fewer steps is what the originals compute in theirs.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};
use vqfarm_core::rng::{Key, Purpose};
use vqfarm_engine::model::{Generator, Perceptor};
use vqfarm_engine::net::{Clip, Layout, Vqgan, Weights, to_tensors};

use crate::tiny::checkpoint;

/// Whole networks, as for the originals' own numbers.
const TOLERANCE: f64 = 1e-5;

fn noise(shape: &[i64]) -> Tensor {
    let mut numbers = vec![0f32; shape.iter().product::<i64>() as usize];
    Key::new(5, Purpose::Scene).stream().fill_normal(&mut numbers);
    Tensor::from_slice(&numbers).view(shape)
}

/// A network's output and the gradient that some cotangent leaves on its input.
fn there_and_back(x: &Tensor, network: impl Fn(&Tensor) -> Tensor) -> [Tensor; 2] {
    let x = x.copy().set_requires_grad(true);
    let y = network(&x);
    (&y * noise(&y.size())).sum(Kind::Float).backward();
    [y.detach(), x.grad()]
}

fn assert_close(what: &str, fast: &[Tensor], original: &[Tensor]) {
    for (i, (fast, original)) in fast.iter().zip(original).enumerate() {
        let error = (fast - original).abs().max() / original.abs().max();
        let error = error.double_value(&[]);
        assert!(error < TOLERANCE, "{what}, output {i}: {error}");
    }
}

type Tensors = BTreeMap<String, Tensor>;

/// The networks of a fixture's weights: fast, as on a GPU, and the original.
fn all<N>(tensors: &Tensors, make: impl Fn(&Weights) -> N) -> [N; 3] {
    let weights = || Weights::new(tensors, Kind::Float);
    let on_gpu = weights().fast().laid_out(Layout::Pixels).folded();
    [make(&weights().fast()), make(&on_gpu), make(&weights())]
}

#[test]
fn generators_decode_and_encode_alike() {
    for (stem, height, width) in
        [("vqgan_vq_f4", 6, 10), ("vqgan_vq_f16", 3, 5), ("vqgan_gumbel_f8", 7, 4)]
    {
        let model = vqfarm_weights::vqgan::canonical(checkpoint(stem), None).unwrap();
        let tensors = to_tensors(&model.state, Device::Cpu).unwrap();
        let [fast, on_gpu, original] = all(&tensors, |w| Vqgan::new(w, &model.config).unwrap());
        for batch in [1, 3] {
            let z = noise(&[batch, fast.channels(), height, width]);
            let decoded = |net: &Vqgan| there_and_back(&z, |z| net.decode(&net.quantize(z)));
            assert_close(stem, &decoded(&fast), &decoded(&original));
            assert_close(stem, &decoded(&on_gpu), &decoded(&original));
            let f = fast.factor();
            let image = noise(&[batch, 3, height * f, width * f]);
            assert_close(stem, &[fast.prequant(&image)], &[original.prequant(&image)]);
        }
    }
}

#[test]
fn perceptors_see_and_read_alike() {
    for stem in ["clip_vit", "clip_rn"] {
        let model = vqfarm_weights::clip::canonical(checkpoint(stem), None).unwrap();
        let tensors = to_tensors(&model.state, Device::Cpu).unwrap();
        let [fast, on_gpu, original] = all(&tensors, |w| Clip::new(w, &model.config).unwrap());
        let side = fast.resolution();
        for batch in [1, 5] {
            let images = noise(&[batch, 3, side, side]);
            let seen = |net: &Clip| there_and_back(&images, |x| net.encode_image(x));
            assert_close(stem, &seen(&fast), &seen(&original));
            assert_close(stem, &seen(&on_gpu), &seen(&original));
        }
        let tokens = Tensor::arange(2 * model.config.context_length, (Kind::Int64, Device::Cpu));
        let tokens = tokens.view([2, -1]);
        let read = |net: &Clip| net.encode_tokens(&tokens);
        assert_close(stem, &[read(&fast)], &[read(&original)]);
        assert_close(stem, &[read(&on_gpu)], &[read(&original)]);
    }
}
