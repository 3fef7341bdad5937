//! How fast this machine renders: the published models' sizes with made-up weights.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use tch::{Device, Kind};
use vqfarm_core::render::{Cutouts, Precision, RenderSettings};
use vqfarm_engine::net::{Clip, RandomWeights, Vqgan, Weights};
use vqfarm_engine::session::Stage;
use vqfarm_engine::{Models, Picture, Session, device};
use vqfarm_weights::clip::{Activation, ClipConfig, VisionLayers};
use vqfarm_weights::vqgan::{Quantizer, VqganConfig};

/// Measure iterations a second with real model sizes and made-up weights
///
/// A 16,384-row f16 VQGAN and a ViT-B/32, which need no download: speed does not depend on
/// what the weights say.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Where to compute: auto, cpu, cuda, cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,

    /// Side of the square picture in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=2048))]
    size: u32,

    /// Cutouts an iteration
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    cutouts: u32,

    /// Iterations that are measured, after two that are not
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    iterations: u32,

    /// float32, tf32 or bf16; what a CPU does not know it computes in float32
    #[arg(long, value_name = "KIND", default_value = "float32")]
    precision: String,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Iterations before measuring: the first ones allocate memory and choose algorithms.
const WARM_UP: u32 = 2;

/// What was measured; times in seconds an iteration.
#[derive(Debug, Serialize)]
struct Report {
    device: String,
    size: u32,
    cutouts: u32,
    iterations: u32,
    threads: i32,
    iterations_per_second: f64,
    seconds: f64,
    stages: BTreeMap<String, f64>,
}

/// Measures and prints.
///
/// # Errors
/// There is no such device or precision, or libtorch fails.
pub fn run(args: &BenchArgs) -> Result<()> {
    let report = measure(args)?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    println!(
        "{}: {}² pixels, {} cutouts, {} threads: {:.3} s an iteration, {:.3} iterations a second",
        report.device,
        report.size,
        report.cutouts,
        report.threads,
        report.seconds,
        report.iterations_per_second
    );
    for (stage, seconds) in &report.stages {
        println!("  {stage:<18} {seconds:8.3} s  {:5.1} %", 100.0 * seconds / report.seconds);
    }
    Ok(())
}

fn measure(args: &BenchArgs) -> Result<Report> {
    let device = device::choose(&args.device)?;
    let precision: Precision =
        serde_json::from_value(serde_json::Value::from(args.precision.as_str()))
            .with_context(|| format!("--precision {}: not known", args.precision))?;
    let (kind, warning) = device::set_precision(device, precision)?;
    if let Some(warning) = warning {
        eprintln!("warning: {warning}");
    }
    let models = models(device, kind)?;
    let picture = Picture::new(RenderSettings {
        prompt: "a red sun over the sea".into(),
        size: [args.size; 2],
        iterations: args.iterations + WARM_UP,
        cutouts: Cutouts { count: args.cutouts, ..Cutouts::default() },
        ..RenderSettings::default()
    });
    let mut session = Session::new(&models, &[picture])?;
    let stages = Arc::new(Mutex::new(BTreeMap::<Stage, Duration>::new()));
    let into = Arc::clone(&stages);
    let mut last = Instant::now();
    session.set_clock(Box::new(move |stage| {
        synchronise(device);
        let now = Instant::now();
        let mut stages = into.lock().unwrap_or_else(PoisonError::into_inner);
        *stages.entry(stage).or_default() += now - last;
        last = now;
    }));
    for _ in 0..WARM_UP {
        session.step()?;
    }
    synchronise(device);
    stages.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let start = Instant::now();
    while !session.done() {
        session.step()?;
    }
    synchronise(device);
    let seconds = start.elapsed().as_secs_f64() / f64::from(args.iterations);
    if session.losses()?.iter().any(|loss| !loss.total().is_finite()) {
        bail!("the loss is not a number");
    }
    let stages = stages.lock().unwrap_or_else(PoisonError::into_inner);
    let share = |(stage, time): (&Stage, &Duration)| {
        (name(*stage).to_owned(), time.as_secs_f64() / f64::from(args.iterations))
    };
    Ok(Report {
        device: format!("{device:?}").to_lowercase(),
        size: args.size,
        cutouts: args.cutouts,
        iterations: args.iterations,
        threads: tch::get_num_threads(),
        iterations_per_second: 1.0 / seconds,
        seconds,
        stages: stages.iter().map(share).collect(),
    })
}

/// Numbered, so that a report lists them in the order of an iteration.
fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Synthesise => "1 decoder",
        Stage::Cut => "2 cutouts",
        Stage::Perceive => "3 perceptor",
        Stage::PerceiveBack => "4 perceptor back",
        Stage::CutBack => "5 cutouts back",
        Stage::SynthesiseBack => "6 decoder back",
        Stage::Update => "7 optimiser",
    }
}

fn synchronise(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}

fn models(device: Device, kind: Kind) -> Result<Models> {
    let weights = RandomWeights::new(1, device);
    let weights = Weights::random(&weights, kind).fast();
    let generator = Vqgan::new(&weights, &imagenet_f16_16384())?;
    let perceptor = Clip::new(&weights, &vit_b_32())?;
    Ok(Models::new(Box::new(generator), vec![Box::new(perceptor)], device))
}

fn imagenet_f16_16384() -> VqganConfig {
    VqganConfig {
        double_z: false,
        z_channels: 256,
        resolution: 256,
        in_channels: 3,
        out_ch: 3,
        ch: 128,
        ch_mult: vec![1, 1, 2, 2, 4],
        num_res_blocks: 2,
        attn_resolutions: vec![16],
        dropout: 0.0,
        embed_dim: 256,
        n_embed: 16_384,
        quantizer: Quantizer::Vq,
    }
}

fn vit_b_32() -> ClipConfig {
    ClipConfig {
        embed_dim: 512,
        image_resolution: 224,
        vision_layers: VisionLayers::Vit(12),
        vision_width: 768,
        vision_patch_size: Some(32),
        context_length: 77,
        vocab_size: 49_408,
        transformer_width: 512,
        transformer_heads: 8,
        transformer_layers: 12,
        activation: Activation::QuickGelu,
    }
}
