//! What the demo models can do, on scenes and captions that training never drew.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use tch::{Device, Kind, Tensor};
use vqfarm_core::render::{Precision, RenderSettings};
use vqfarm_engine::model::{Generator, Perceptor};
use vqfarm_engine::net::{Clip, Vqgan};
use vqfarm_engine::session::Options;

use crate::data::{self, SIZE, Sample};
use crate::models::{self, Demo};
use crate::train::perceptor::features;
use crate::train::to_images;
use crate::{render, sheet};

/// Pictures that are redrawn and recognised.
pub const SCENES: u32 = 512;
/// Captions that a picture's own competes with.
const CAPTIONS: usize = 64;

/// Prompts that a rendered picture's own competes with.
pub const PROMPTS: u32 = 32;

/// The figures of the README.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Mean over held-out scenes of the peak signal-to-noise ratio of what comes back from
    /// the generator, dB.
    pub reconstruction_psnr: f64,
    /// Slope of the redrawn edges over that of the drawn ones: 1 is as crisp.
    pub edge_sharpness: f64,
    /// Percentage of pictures for which the perceptor ranks their caption first of 64.
    pub caption_first_of_64: f64,
    /// The same for the judge.
    pub judge_caption_first_of_64: f64,
    /// Percentage of rendered prompts that the judge ranks first of 32 for their picture.
    pub prompt_first_of_32: f64,
    /// … and among the first three.
    pub prompt_in_first_3_of_32: f64,
    /// Mean cosine of rendered pictures and their prompts by the judge, and of drawn pictures of
    /// the same prompts.
    pub judge_score: f64,
    pub judge_score_of_drawn: f64,
    pub seconds_per_picture: f64,
}

/// Measures the three models of a directory on `scenes` of [`SCENES`] scenes, rendering the first
/// `count` of [`PROMPTS`] prompts with `settings`, and writes sheets to look at into `out`. The
/// README's figures are those of all.
///
/// # Errors
/// A model is missing or damaged, or `out` cannot be written.
pub fn measure(
    dir: &Path,
    out: &Path,
    settings: &RenderSettings,
    (scenes, count): (u32, u32),
    device: Device,
) -> Result<Report> {
    std::fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
    let demo = Demo::read(dir)?;
    let generator = models::vqgan(&demo.generator, Kind::Float, device)?;
    let perceptor = models::clip(&demo.perceptor, device)?;
    let judge = models::clip(&demo.judge, device)?;

    let samples: Vec<Sample> = (0..scenes).map(|i| data::held_out(i, SIZE)).collect();
    let pixels: Vec<u8> = samples.iter().flat_map(|s| s.pixels.iter().copied()).collect();
    let images = to_images(&pixels, i64::from(scenes), device);
    let texts: Vec<&str> = samples.iter().map(|s| s.caption.text.as_str()).collect();

    let (redrawn, reconstruction_psnr) = redraw(&generator, &images);
    let few = 32;
    let pairs: Vec<Vec<u8>> =
        (0..few).flat_map(|i| [&images, &redrawn].map(|all| to_bytes(&all.get(i)))).collect();
    sheet::write(&out.join("reconstruction.png"), &pairs, SIZE, 8)?;

    let prompts: Vec<&str> = texts[..PROMPTS as usize].to_vec();
    let started = std::time::Instant::now();
    let precision = if device.is_cuda() { Precision::Tf32 } else { Precision::Float32 };
    let settings = RenderSettings { precision, ..settings.clone() };
    let rendered =
        render::render(&demo, &prompts[..count as usize], &settings, device, Options::default())?;
    let seconds_per_picture = started.elapsed().as_secs_f64() / f64::from(count);
    let pictures: Vec<Vec<u8>> =
        (0..i64::from(count)).map(|i| to_bytes(&rendered.get(i))).collect();
    sheet::write(&out.join("rendered.png"), &pictures, SIZE, 8)?;

    let drawings = images.narrow(0, 0, i64::from(count));
    let judged = cosines(&judge, &rendered, &prompts)?;
    let ranks = ranks(&judged)?;
    // What the loop sought beside what it could have found: a drawn picture of the prompt.
    let found = cosines(&perceptor, &rendered, &prompts)?;
    let drawn = cosines(&perceptor, &drawings, &prompts)?;
    eprintln!("rank, cosine of the picture and of a drawn one, prompt");
    for (i, (prompt, rank)) in (0..).zip(prompts.iter().zip(&ranks)) {
        let own = |t: &Tensor| t.double_value(&[i, i]);
        eprintln!("{rank:4} {:6.2} {:6.2}  {prompt}", own(&found), own(&drawn));
    }
    Ok(Report {
        reconstruction_psnr,
        edge_sharpness: sharpness(&redrawn, &images),
        caption_first_of_64: recognise(&perceptor, &images, &texts)?,
        judge_caption_first_of_64: recognise(&judge, &images, &texts)?,
        prompt_first_of_32: share(&ranks, 1),
        prompt_in_first_3_of_32: share(&ranks, 3),
        judge_score: mean_own(&judged),
        judge_score_of_drawn: mean_own(&cosines(&judge, &drawings, &prompts)?),
        seconds_per_picture,
    })
}

/// The images as they come back from their codes, and the mean PSNR.
fn redraw(generator: &Vqgan, images: &Tensor) -> (Tensor, f64) {
    tch::no_grad(|| {
        let parts: Vec<Tensor> = images
            .split(16, 0)
            .iter()
            .map(|x| generator.decode(&generator.encode(x)).clamp(0.0, 1.0))
            .collect();
        let redrawn = Tensor::cat(&parts, 0);
        let error = (&redrawn - images).square();
        let error = error.mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float);
        let psnr = (error.log10() * -10.0).mean(Kind::Float).double_value(&[]);
        (redrawn, psnr)
    })
}

/// Mean slope of `y` over that of `x`, where `x` has an edge.
fn sharpness(y: &Tensor, x: &Tensor) -> f64 {
    let slope = |t: &Tensor| {
        let n = t.size()[3];
        let grey = t.mean_dim([1i64].as_slice(), false, Kind::Float);
        (grey.narrow(2, 1, n - 1) - grey.narrow(2, 0, n - 1)).abs()
    };
    let (y, x) = (slope(y), slope(x));
    let edges = x.gt(0.15).to_kind(Kind::Float);
    ((y * &edges).sum(Kind::Float) / (x * &edges).sum(Kind::Float)).double_value(&[])
}

/// Unit text features, [N, d].
fn encode_texts(clip: &Clip, texts: &[&str]) -> Result<Tensor> {
    let rows = texts.iter().map(|t| Ok(clip.encode_text(t)?.0)).collect::<Result<Vec<_>>>()?;
    let rows = Tensor::cat(&rows, 0);
    let length = rows.norm_scalaropt_dim(2.0, [-1i64].as_slice(), true);
    Ok(rows / length)
}

/// Cosines of pictures and texts, [pictures, texts], on the CPU.
pub(crate) fn cosines(clip: &Clip, images: &Tensor, texts: &[&str]) -> Result<Tensor> {
    let side = clip.resolution();
    let texts = encode_texts(clip, texts)?;
    Ok(tch::no_grad(|| {
        let images = features(clip, &images.adaptive_avg_pool2d([side, side]));
        images.matmul(&texts.tr()).to_device(Device::Cpu)
    }))
}

/// Percentage of images whose text is the first of its round of 64.
fn recognise(clip: &Clip, images: &Tensor, texts: &[&str]) -> Result<f64> {
    let mut all = Vec::new();
    for (images, texts) in images.split(CAPTIONS as i64, 0).iter().zip(texts.chunks(CAPTIONS)) {
        all.extend(ranks(&cosines(clip, images, texts)?)?);
    }
    Ok(share(&all, 1))
}

/// For picture i the rank, from 1, of text i among all texts, given their cosines.
fn ranks(cosines: &Tensor) -> Result<Vec<i64>> {
    let own = cosines.diag(0).unsqueeze(1);
    let better = cosines.gt_tensor(&own).sum_dim_intlist([1i64].as_slice(), false, Kind::Int64);
    Ok(Vec::try_from(better + 1)?)
}

/// Mean cosine of picture i and text i.
fn mean_own(cosines: &Tensor) -> f64 {
    cosines.diag(0).mean(Kind::Float).double_value(&[])
}

fn share(ranks: &[i64], within: i64) -> f64 {
    100.0 * ranks.iter().filter(|r| **r <= within).count() as f64 / ranks.len() as f64
}

/// An image [3, H, W] in [0, 1] as sRGB bytes.
fn to_bytes(image: &Tensor) -> Vec<u8> {
    let bytes = (image.clamp(0.0, 1.0) * 255.0).round().to_kind(Kind::Uint8);
    let bytes = bytes.permute([1, 2, 0]).contiguous().to_device(Device::Cpu);
    let mut out = vec![0; bytes.numel()];
    let n = out.len();
    bytes.copy_data(&mut out, n);
    out
}
