//! Trains a perceptor: a CLIP that learns which captions are true of which pictures.

use anyhow::{Context, Result, ensure};
use tch::{Kind, Tensor};
use vqfarm_engine::model::Perceptor;
use vqfarm_engine::net::{Clip, Weights};
use vqfarm_weights::clip::{Activation, ClipConfig, VisionLayers};

use super::augment;
use super::dreams::{self, Dreams};
use super::feed::Feed;
use super::layout;
use super::log::Log;
use super::params::{AdamW, Params, rate};
use super::ruin::ruin;
use super::run::{self, Options, Run};
use super::score_matching::Unfinished;
use super::vocabulary::{CONTEXT, Vocabulary};
use crate::data::{self, SIZE, Sample};
use crate::scene::Split;

const WARM_UP: i64 = 200;
const ADVERSARY_FROM: i64 = 400;
/// Weight of the score matching.
const MATCHING: f64 = 4.0;
/// Weight of the dreams' own loss.
const DREAMS: f64 = 0.3;
/// One in so many pictures of a batch is also shown on its way, twice.
const HAZY: i64 = 4;
/// Scenes that differ from one another in one attribute, side by side in a batch.
const GROUP: usize = 4;
/// Steps over which the adversary's reach grows to its full length.
const ADVERSARY_RAMP: f64 = 800.0;

/// The demo perceptor; `vocab_size` is that of captions in training, CLIP's own in the file.
pub fn config(vocab_size: i64) -> ClipConfig {
    ClipConfig {
        embed_dim: 128,
        image_resolution: 64,
        vision_layers: VisionLayers::Vit(4),
        vision_width: 192,
        vision_patch_size: Some(8),
        context_length: CONTEXT,
        vocab_size,
        transformer_width: 128,
        transformer_heads: 2,
        transformer_layers: 3,
        activation: Activation::QuickGelu,
    }
}

/// What a step learns from.
struct Batch {
    pixels: Vec<u8>,
    tokens: Tensor,
    /// [N, N], a large negative number where a caption is true of another's picture.
    excluded: Tensor,
    /// One scene of each group with blots for figures, which no caption describes.
    blots: Vec<u8>,
}

impl Batch {
    fn draw(seed: u64, k: u64, size: i64, vocabulary: &Vocabulary) -> Self {
        let groups = size as u32 / GROUP as u32;
        let mut samples: Vec<Sample> = (0..groups)
            .flat_map(|g| data::group(seed, k as u32 * groups + g, GROUP, Split::Train, SIZE))
            .collect();
        // What is dreamt of, in its place; the same all through an era.
        let dreamt = dreams::count(size);
        for (slot, sample) in (0..dreamt).zip(&mut samples) {
            let (era, _) = dreams::era(k as i64, slot, dreamt);
            let number = era * dreamt + slot;
            *sample = data::sample(seed, number as u32, Split::Train, SIZE);
        }
        let mut excluded = Vec::with_capacity(samples.len() * samples.len());
        for (i, picture) in samples.iter().enumerate() {
            excluded.extend(samples.iter().enumerate().map(|(j, caption)| {
                if i != j && caption.caption.is_true_of(&picture.scene) { -1e4f32 } else { 0.0 }
            }));
        }
        let n = samples.len() as i64;
        let some = samples.iter().skip(k as usize % GROUP).step_by(GROUP);
        let blots = some.zip(0..).flat_map(|(sample, i)| {
            data::blotted(seed, k as u32 * groups + i, &sample.scene, SIZE)
        });
        let blots = blots.collect();
        Self {
            tokens: vocabulary.encode(samples.iter().map(|s| s.caption.text.as_str())),
            excluded: Tensor::from_slice(&excluded).view([n, n]),
            blots,
            pixels: samples.into_iter().flat_map(|s| s.pixels).collect(),
        }
    }
}

/// Trains until the options' limits, continuing from a checkpoint.
///
/// # Errors
/// Files cannot be written, a checkpoint does not fit, or the batch is no multiple of sixteen.
pub fn train(options: Options) -> Result<()> {
    ensure!(
        options.batch > 0 && options.batch % 16 == 0,
        "--batch {} should be a multiple of 16",
        options.batch
    );
    let mut run = Run::new(options)?;
    let o = run.options.clone();
    let vocabulary = Vocabulary::new();
    let config = config(vocabulary.ids.len() as i64);
    let params = start(&config, &o)?;
    let mut adam = AdamW::new(&params, (0.9, 0.98), 0.05);
    let state = [
        ("params", params.flat.shallow_clone()),
        ("adam.mean", adam.mean.shallow_clone()),
        ("adam.square", adam.square.shallow_clone()),
        ("average", adam.average.shallow_clone()),
    ];
    let state = state.each_ref().map(|(n, t)| (*n, t));
    run.resume(&state)?;
    let first = run.step;
    println!(
        "perceptor: {} weights, {} tokens, from step {}",
        params.flat.numel(),
        vocabulary.ids.len(),
        run.step
    );

    let (seed, size, words) = (o.seed, o.batch, vocabulary.clone());
    let mut feed =
        Feed::start(run.step as u64, o.threads, move |k| Batch::draw(seed, k, size, &words))?;
    let exam = Exam::draw(256, &vocabulary, &o);
    let mut pool = match &o.generator {
        Some(file) => Some(Dreams::new(file, dreams::count(o.batch), o.kind, o.device)?),
        None => None,
    };
    let dreamt = dreams::count(o.batch);
    let near: Vec<i64> = (0..dreamt).filter(|slot| dreams::begins_near(*slot)).collect();
    let near = Tensor::from_slice(&near).to_device(o.device);
    let mut log = Log::new(o.device);
    loop {
        let step = run.step;
        tch::manual_seed(o.seed as i64 * 1_000_003 + step);
        let batch = feed.take()?;
        let images = super::to_images(&batch.pixels, o.batch, o.device);
        let (tokens, excluded) =
            (batch.tokens.to_device(o.device), batch.excluded.to_device(o.device));
        // One of each group also as a ruin, which no caption describes.
        let (group, place) = (GROUP as i64, (Kind::Int64, o.device));
        let some = Tensor::arange_start_step(step % group, o.batch, group, place);
        let blots = super::to_images(&batch.blots, o.batch / group, o.device);
        let ruins = ruin(&images.index_select(0, &some));
        let drawn = images;
        let mut images = Tensor::cat(&[&drawn, &ruins, &blots], 0);
        let mut unfinished = None;
        let hazy = Tensor::randperm(o.batch, place).narrow(0, 0, o.batch / HAZY);
        if let Some(pool) = &mut pool {
            for slot in 0..dreamt {
                // A run that goes on has lost its dreams: they begin anew.
                if dreams::era(step, slot, dreamt).1 || step == first {
                    pool.begin(slot, &drawn.narrow(0, slot, 1));
                }
            }
            let net = Clip::new(&Weights::new(&params.tensors, o.kind), &config)?;
            let wanted = tch::no_grad(|| texts(&net, &tokens.narrow(0, 0, dreamt)));
            let shown = pool.advance(&net, config.image_resolution, &wanted);
            let (redrawn, on_their_way) = pool.redraw(&images, o.batch, step, &hazy);
            let captions = Tensor::cat(&[&hazy, &hazy, &some, &near], 0);
            let from = Tensor::cat(&[&on_their_way, &blots, &shown.index_select(0, &near)], 0);
            let toward = drawn.index_select(0, &captions);
            unfinished = Some(Unfinished::new(&from, &toward, captions, config.image_resolution));
            // Last, where the loss looks for them.
            images = Tensor::cat(&[redrawn, shown, on_their_way], 0);
        }
        let mut cutouts = augment::cutouts(&images, config.image_resolution);
        // The cutouts, and then what leads them astray: the gradient that the first pass gives
        // anyway makes the second one's input (as Shafahi et al. 2019 do).
        let reach = o.radius * ((step - ADVERSARY_FROM) as f64 / ADVERSARY_RAMP).clamp(0.0, 1.0);
        let passes = if reach > 0.0 { 2 } else { 1 };
        for pass in 0..passes {
            cutouts = cutouts.set_requires_grad(true);
            let weights = Weights::new(&params.tensors, o.kind).twice_differentiable();
            let net = Clip::new(&weights, &config)?;
            let scale = params.tensors["logit_scale"].clamp_max(4.6).exp();
            let texts = texts(&net, &tokens);
            let all = features(&net, &cutouts).matmul(&texts.tr()) * scale;
            let on_their_way = if pool.is_some() { 2 * hazy.size()[0] } else { 0 };
            let count = all.size()[0] - on_their_way;
            let logits = all.narrow(0, 0, count);
            let (mut loss, hits) = contrast(&logits, &excluded);
            if pool.is_some() {
                let hazed = all.narrow(0, count, on_their_way);
                let rivalry = rivalry(&logits, dreamt);
                if pass == 0 {
                    log.add("dreams", &rivalry);
                }
                loss += DREAMS * rivalry + clearing(&hazed, &excluded, &hazy);
            }
            if let Some(unfinished) = unfinished.as_ref().filter(|_| pass == 0) {
                let alignment = unfinished.alignment(&net, &texts);
                log.add("alignment", &alignment);
                loss += MATCHING * (1.0 - alignment);
            }
            let (gradient, inputs) = params.gradient(&loss, &[&cutouts]);
            adam.step(&params, &gradient, rate(o.rate, WARM_UP, step, o.steps), step);
            cutouts = astray(&cutouts, &inputs[0], reach);
            if pass == 0 {
                log.add("loss", &loss);
                log.add("hits", &hits);
            }
        }
        if step % 50 == 49 {
            println!("step {step}{} pace {:.2}/s", log.means(), run.pace());
        }
        if step % 250 == 249 {
            let average = params.with_values(&adam.average);
            let net = Clip::new(&Weights::new(&average.tensors, Kind::Float), &config)?;
            let (plain, augmented) = exam.take(&net);
            println!("step {step} held-out {plain:.1}% augmented {augmented:.1}% of 64");
        }
        if !run.proceed(&state)? {
            return Ok(());
        }
    }
}

/// Weights drawn from the seed, or those of a model file.
fn start(config: &ClipConfig, o: &Options) -> Result<Params> {
    let params = Params::start(&layout::clip(config), o.seed, o.device);
    if let Some(file) = &o.init {
        let mut weights = run::weights(file, o.device)?;
        // A file's compact table has the rows that training has, in the same order.
        if let Some(rows) = weights.remove("token_embedding.rows") {
            weights.insert("token_embedding.weight".into(), rows);
        }
        params.take_over(&weights).with_context(|| format!("begin with {}", file.display()))?;
    }
    Ok(params)
}

/// Unit features of images in [0, 1].
pub fn features(net: &Clip, images: &Tensor) -> Tensor {
    let (mean, std) = net.normalisation();
    let channels = |v: [f64; 3]| {
        Tensor::from_slice(&v).to_kind(Kind::Float).to_device(images.device()).view([1, 3, 1, 1])
    };
    unit(&net.encode_image(&((images - channels(mean)) / channels(std))))
}

/// Unit features of token rows.
fn texts(net: &Clip, tokens: &Tensor) -> Tensor {
    unit(&net.encode_tokens(tokens))
}

fn unit(x: &Tensor) -> Tensor {
    x / x.norm_scalaropt_dim(2.0, [-1i64].as_slice(), true).clamp_min(1e-6)
}

/// The symmetric contrastive loss of logits [pictures, captions], and the share of pictures
/// whose caption came first. Pictures beyond the number of captions have none: they are only
/// wrong answers.
fn contrast(logits: &Tensor, excluded: &Tensor) -> (Tensor, Tensor) {
    let n = logits.size()[1];
    let described = logits.narrow(0, 0, n) + excluded;
    let others = logits.narrow(0, n, logits.size()[0] - n);
    let right = Tensor::arange(n, (Kind::Int64, logits.device()));
    let loss: Tensor = (described.cross_entropy_for_logits(&right)
        + Tensor::cat(&[&described, &others], 0).tr().cross_entropy_for_logits(&right))
        / 2.0;
    let hits = described.argmax(1, false).eq_tensor(&right).to_kind(Kind::Float).mean(Kind::Float);
    (loss, hits)
}

/// How far the dreams, the last `count` pictures, please their captions, the first, better than the
/// drawn pictures do: the logistic loss of the difference.
fn rivalry(logits: &Tensor, count: i64) -> Tensor {
    let dreamt = logits.narrow(0, logits.size()[0] - count, count);
    (dreamt.diag(0) - logits.diag(0).narrow(0, 0, count)).softplus().mean(Kind::Float)
}

/// Pictures on their way, `hazed` [2H, captions], with little noise and then with much: they must
/// be told by their captions, those of numbers `right` [H], and please them the better the less
/// noise there is. A loop spends its time among such pictures and asks which way is out. (As a
/// classifier that guides a diffusion is trained on noisy pictures: Dhariwal & Nichol 2021.)
fn clearing(hazed: &Tensor, excluded: &Tensor, right: &Tensor) -> Tensor {
    let few = right.size()[0];
    let masked = excluded.index_select(0, right);
    let (thin, thick) = (hazed.narrow(0, 0, few), hazed.narrow(0, few, few));
    let own = |x: &Tensor| x.gather(1, &right.unsqueeze(1), false);
    let told = (&thin + &masked).cross_entropy_for_logits(right)
        + (&thick + &masked).cross_entropy_for_logits(right);
    told * 0.25 + (own(&thick) - own(&thin)).softplus().mean(Kind::Float) * 0.5
}

/// The cutouts moved along the gradient of the loss, each by a random length up to `reach`:
/// small changes that fool a perceptor are what a loop would find instead of a picture.
fn astray(cutouts: &Tensor, gradient: &Tensor, reach: f64) -> Tensor {
    let length = gradient.norm_scalaropt_dim(2.0, [1i64, 2, 3].as_slice(), true) + 1e-12;
    let far = Tensor::rand([cutouts.size()[0], 1, 1, 1], (Kind::Float, cutouts.device())) * reach;
    (cutouts + gradient / length * far).detach()
}

/// Held-out pictures and captions, in rounds of 64.
struct Exam {
    images: Tensor,
    tokens: Tensor,
}

impl Exam {
    fn draw(count: u32, vocabulary: &Vocabulary, o: &Options) -> Self {
        let samples: Vec<Sample> = (0..count).map(|i| data::held_out(i, SIZE)).collect();
        let tokens = vocabulary.encode(samples.iter().map(|s| s.caption.text.as_str()));
        let pixels: Vec<u8> = samples.into_iter().flat_map(|s| s.pixels).collect();
        Self {
            images: super::to_images(&pixels, i64::from(count), o.device),
            tokens: tokens.to_device(o.device),
        }
    }

    /// Percentage of pictures whose caption is first of 64: plain, and as one cutout each.
    fn take(&self, net: &Clip) -> (f64, f64) {
        tch::no_grad(|| {
            let side = net.resolution();
            let score = |images: &Tensor| {
                let rounds = images.split(64, 0).into_iter().zip(self.tokens.split(64, 0));
                let hits: Vec<Tensor> = rounds
                    .map(|(x, t)| {
                        let logits = features(net, &x).matmul(&texts(net, &t).tr());
                        contrast(&logits, &logits.zeros_like()).1
                    })
                    .collect();
                Tensor::stack(&hits, 0).mean(Kind::Float).double_value(&[]) * 100.0
            };
            let plain = self.images.adaptive_avg_pool2d([side, side]);
            (score(&plain), score(&augment::cutouts(&self.images, side)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_begins_with_a_file_s_weights_and_refuses_another_model_s() {
        let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/models/");
        let begin = |name: &str| {
            let file = std::path::PathBuf::from(models).join(name);
            let config = config(Vocabulary::new().ids.len() as i64);
            start(&config, &Options { init: Some(file), ..Options::default() })
        };
        let params = begin("demo-clip.safetensors").unwrap();
        let file = std::path::PathBuf::from(models).join("demo-clip.safetensors");
        let weights = run::weights(&file, tch::Device::Cpu).unwrap();
        assert_eq!(params.tensors["visual.conv1.weight"], weights["visual.conv1.weight"]);
        assert_eq!(params.tensors["token_embedding.weight"], weights["token_embedding.rows"]);
        let error = begin("demo-f8.safetensors").err().unwrap();
        assert!(format!("{error:#}").contains("demo-f8.safetensors"), "{error:#}");
    }
}
