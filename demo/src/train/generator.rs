//! Trains the generator: a VQGAN that learns to redraw scenes through a codebook.

use anyhow::{Context, Result, ensure};
use tch::{Kind, Tensor};
use vqfarm_engine::model::Generator;
use vqfarm_engine::net::{Vqgan, Weights};
use vqfarm_weights::vqgan::{Quantizer, VqganConfig};

use super::codebook::Codebook;
use super::corrupt::{corrupt, shake};
use super::critic::Critic;
use super::feed::Feed;
use super::layout;
use super::log::Log;
use super::params::{AdamW, Params, rate};
use super::run::{self, Options, Run};
use super::to_images;
use crate::data;
use crate::scene::Split;

/// Steps before latents are quantised: the codebook starts from a trained encoder's outputs.
const CONTINUOUS_STEPS: i64 = 150;
const WARM_UP: i64 = 60;
/// Steps in which the critic learns alone, and until its word has its full weight.
const CRITIC_FROM: f64 = 300.0;
const CRITIC_RAMP: f64 = 500.0;
/// Length of the critic's gradient at a picture over that of the error's: for pictures only
/// redrawn, and for those set right, where the error leaves more room to guess.
const CRITIC_WEIGHT: [f64; 2] = [0.3, 0.7];

/// The demo generator: f8, made for 96 pixels.
pub fn config() -> VqganConfig {
    VqganConfig {
        double_z: false,
        z_channels: 128,
        resolution: 96,
        in_channels: 3,
        out_ch: 3,
        ch: 32,
        ch_mult: vec![1, 1, 2, 4],
        num_res_blocks: 1,
        attn_resolutions: vec![12],
        dropout: 0.0,
        embed_dim: 32,
        n_embed: 1024,
        quantizer: Quantizer::Vq,
    }
}

/// A VQGAN in training.
pub struct Model {
    pub params: Params,
    pub codebook: Codebook,
}

impl Model {
    /// Weights drawn from the seed, or those of a model file.
    fn start(options: &Options) -> Result<Self> {
        let c = config();
        let params = Params::start(&layout::vqgan(&c), options.seed, options.device);
        let mut codebook = Codebook::new(c.n_embed, c.embed_dim, options.device);
        if let Some(file) = &options.init {
            let weights = run::weights(file, options.device)?;
            let rows = weights.get("quantize.embedding.weight");
            params
                .take_over(&weights)
                .and_then(|()| codebook.begin(rows.context("it has no codebook")?))
                .with_context(|| format!("begin with {}", file.display()))?;
        }
        Ok(Self { params, codebook })
    }

    /// The network of these weights, computing in `kind`; gradients reach the weights.
    ///
    /// # Errors
    /// Layout and network disagree, which is a mistake in this program.
    pub fn net(&self, kind: Kind) -> Result<Vqgan> {
        let mut tensors = self.params.shallow_clone();
        tensors.insert("quantize.embedding.weight".into(), self.codebook.rows.shallow_clone());
        Ok(Vqgan::new(&Weights::new(&tensors, kind), &config())?)
    }
}

/// Trains until the options' limits, continuing from a checkpoint.
///
/// # Errors
/// Files cannot be written, a checkpoint does not fit, or the batch is no multiple of four.
pub fn train(options: Options) -> Result<()> {
    ensure!(
        options.batch > 0 && options.batch % 4 == 0,
        "--batch {} should be a multiple of 4",
        options.batch
    );
    let mut run = Run::new(options)?;
    let o = run.options.clone();
    let mut model = Model::start(&o)?;
    let continuous_steps = if o.init.is_some() { 0 } else { CONTINUOUS_STEPS };
    let mut adam = AdamW::new(&model.params, (0.9, 0.99), 1e-4);
    let mut critic = Critic::new(o.seed, o.kind, o.device);
    let state: Vec<(&str, Tensor)> = [
        ("params", &model.params.flat),
        ("adam.mean", &adam.mean),
        ("adam.square", &adam.square),
        ("average", &adam.average),
        ("codebook.rows", &model.codebook.rows),
        ("codebook.counts", &model.codebook.counts),
        ("codebook.sums", &model.codebook.sums),
        ("critic.params", &critic.params.flat),
        ("critic.mean", &critic.adam.mean),
        ("critic.square", &critic.adam.square),
    ]
    .map(|(n, t)| (n, t.shallow_clone()))
    .into();
    let state: Vec<(&str, &Tensor)> = state.iter().map(|(n, t)| (*n, t)).collect();
    run.resume(&state)?;
    println!("generator: {} weights, from step {}", model.params.flat.numel(), run.step);

    let (seed, batch) = (o.seed, o.batch);
    let mut feed = Feed::start(run.step as u64, o.threads, move |k| {
        let first = k as u32 * batch as u32;
        (0..batch as u32)
            .flat_map(|i| data::sample(seed, first + i, Split::Train, data::SIZE).pixels)
            .collect::<Vec<u8>>()
    })?;
    let held_out = held_out(&o, 128);
    let mut log = Log::new(o.device);
    loop {
        let step = run.step;
        let x = to_images(&feed.take()?, batch, o.device) * 2.0 - 1.0;
        let net = model.net(o.kind)?;
        let h = net.prequant(&x);
        tch::manual_seed(o.seed as i64 * 1_000_003 + step);
        let (z, commitment) = if step < continuous_steps {
            (h, Tensor::zeros([], (Kind::Float, o.device)))
        } else {
            if step == CONTINUOUS_STEPS && o.init.is_none() {
                model.codebook.start_from(&h, step);
            }
            let indices = net.nearest(&h);
            let rows = net.rows(&indices);
            model.codebook.follow(&h, &indices, step);
            let commitment = (&h - &rows).square().mean(Kind::Float);
            let z = rows + (&h - h.detach());
            // The last half of a batch is to be set right, the others only redrawn.
            let whole = batch / 2;
            let quarter = (batch - whole) / 2;
            let torn = corrupt(&z.narrow(0, whole, quarter));
            let noisy = shake(&h.narrow(0, whole + quarter, quarter), &model.codebook.rows);
            let noisy = net.rows(&net.nearest(&noisy));
            (Tensor::cat(&[z.narrow(0, 0, whole), torn, noisy], 0), commitment)
        };
        // Channels first in memory: libtorch's backward pass of the group norm is many times
        // slower for channels last, at least on CPUs.
        let y = net.decoder_out(&z.contiguous());
        let (wanted, error) = wanted(&y, &x, &critic, step);
        let loss = (&y * wanted).sum(Kind::Float) + 0.25 * commitment;
        let (gradient, _) = model.params.gradient(&loss, &[]);
        adam.step(&model.params, &gradient, rate(o.rate, WARM_UP, step, o.steps), step);

        log.add("told apart", &critic.learn(&x, &y, step));
        log.add("mse", &error);
        if step % 50 == 49 {
            println!(
                "step {step}{} codes {} pace {:.2}/s",
                log.means(),
                model.codebook.used(),
                run.pace()
            );
        }
        if step % 500 == 0 && step > continuous_steps {
            let params = model.params.with_values(&adam.average);
            let average = Model { params, codebook: model.codebook.shallow_clone() };
            let net = average.net(Kind::Float)?;
            println!("step {step} held-out psnr {:.2} dB", psnr(&net, &held_out));
        }
        if !run.proceed(&state)? {
            return Ok(());
        }
    }
}

/// The gradient of the generator's loss at its images `y`, where `x` are the drawn ones: that of
/// the error, and of the critic's objection at a set share of its length (VQGAN's adaptive
/// weight, but for each picture and at the picture). Also the error of those only redrawn.
fn wanted(y: &Tensor, x: &Tensor, critic: &Critic, step: i64) -> (Tensor, Tensor) {
    let y = y.detach().set_requires_grad(true);
    let (loss, error) = reconstruction(&y, x);
    let own = Tensor::run_backward(&[loss], &[&y], false, false).remove(0);
    let objection = critic.objection(&y).sum(Kind::Float);
    let theirs = Tensor::run_backward(&[objection], &[&y], false, false).remove(0);
    let length = |g: &Tensor| g.norm_scalaropt_dim(2.0, [1i64, 2, 3].as_slice(), true);
    let weight = tch::no_grad(|| {
        let size = y.size()[0];
        let half = Tensor::ones([size / 2, 1, 1, 1], (Kind::Float, y.device()));
        let rest = Tensor::ones([size - size / 2, 1, 1, 1], (Kind::Float, y.device()));
        let share = Tensor::cat(&[half * CRITIC_WEIGHT[0], rest * CRITIC_WEIGHT[1]], 0);
        let ramp = ((step as f64 - CRITIC_FROM) / CRITIC_RAMP).clamp(0.0, 1.0);
        share * ramp * length(&own) / (length(&theirs) + 1e-12)
    });
    (own + theirs * weight, error)
}

/// Absolute and squared error and the absolute error of the image's slopes, which keeps
/// edges crisp; the squared error of those only redrawn too, on its own. Images in [-1, 1].
fn reconstruction(y: &Tensor, x: &Tensor) -> (Tensor, Tensor) {
    let difference: Tensor = y - x;
    let slopes = |dim: i64| {
        let n = difference.size()[dim as usize];
        (difference.narrow(dim, 1, n - 1) - difference.narrow(dim, 0, n - 1))
            .abs()
            .mean(Kind::Float)
    };
    let squared = difference.square().mean(Kind::Float);
    let loss = difference.abs().mean(Kind::Float) + 2.0 * &squared + slopes(2) + slopes(3);
    let whole = difference.narrow(0, 0, y.size()[0] / 2);
    (loss, whole.square().mean(Kind::Float).detach())
}

fn held_out(o: &Options, count: u32) -> Tensor {
    let bytes: Vec<u8> = (0..count).flat_map(|i| data::held_out(i, data::SIZE).pixels).collect();
    to_images(&bytes, i64::from(count), o.device)
}

/// Mean over images of the peak signal-to-noise ratio of what comes back through the codes.
pub fn psnr(net: &Vqgan, images: &Tensor) -> f64 {
    tch::no_grad(|| {
        let parts: Vec<Tensor> = images
            .split(16, 0)
            .iter()
            .map(|x| {
                let y = net.decode(&net.encode(x)).clamp(0.0, 1.0);
                let mse = (y - x).square().mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float);
                mse.log10() * -10.0
            })
            .collect();
        Tensor::cat(&parts, 0).mean(Kind::Float).double_value(&[])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_begins_with_a_file_s_weights_and_codes() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/models/demo-f8.safetensors");
        let options = Options { init: Some(file.into()), ..Options::default() };
        let model = Model::start(&options).unwrap();
        let weights = run::weights(file.as_ref(), tch::Device::Cpu).unwrap();
        for (name, tensor) in &model.params.tensors {
            assert_eq!(*tensor, weights[name], "{name}");
        }
        assert_eq!(model.codebook.rows, weights["quantize.embedding.weight"]);
        assert_eq!(model.codebook.used(), config().n_embed);
    }
}
