//! Times whole iterations with each of the switches of a session's loop, on made-up weights of the
//! published sizes: the f16 VQGAN with 16,384 rows and ViT-B/32.
//!
//!     cargo run --release -p vqfarm-engine --example gpu_loop -- DEVICE PRECISION SIZE BATCH [ITERATIONS]
//!     … -- cuda bf16 256 16
//!
//! First a line of JSON with the host's milliseconds to draw for an iteration of the batch, where the
//! GPU does not draw itself. Then one line a set of switches: iterations a second of the batch,
//! milliseconds an iteration, TFLOP/s by `vqfarm_engine::flops`, how far the latents are from those
//! of the first set after as many iterations, and the session's warnings.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::json;
use tch::{Device, Kind, Tensor};
use vqfarm_core::render::RenderSettings;
use vqfarm_core::rng::{Key, Purpose};
use vqfarm_engine::cutouts::Cutter;
use vqfarm_engine::net::{Clip, Layout, RandomWeights, Vqgan, Weights, can_fuse};
use vqfarm_engine::session::Options;
use vqfarm_engine::{Models, Picture, Session, device, flops};
use vqfarm_weights::clip::ClipConfig;
use vqfarm_weights::vqgan::VqganConfig;

/// A session's switches, and how the networks are made.
struct Trial {
    switches: &'static str,
    layout: Layout,
    /// Whether a transformer's norms are folded into what follows, and the decoder's one operation
    /// with the swish after them.
    folded: bool,
    fused: bool,
    /// Whether cuDNN tries all its ways of each convolution.
    tries_all: bool,
}

const PLAIN: Trial = Trial {
    switches: "ahead=off,composed=off,graphs=off",
    layout: Layout::Planes,
    folded: false,
    fused: false,
    tries_all: false,
};
const PIXELS: Trial = Trial { layout: Layout::Pixels, ..PLAIN };
const FOLDED: Trial = Trial { folded: true, ..PIXELS };
const FUSED: Trial = Trial { fused: true, ..FOLDED };

/// Each with one thing more than the one before; the first is what the others are compared with.
const TRIALS: [Trial; 10] = [
    PLAIN,
    PIXELS,
    FOLDED,
    FUSED,
    Trial { switches: "ahead=off,graphs=off", ..FUSED },
    Trial { switches: "draws=off,graphs=off", ..FUSED },
    Trial { switches: "draws=off", ..FUSED },
    Trial { switches: "", ..FUSED },
    Trial { switches: "", tries_all: true, ..FUSED },
    Trial { switches: "halves=on", ..FUSED },
];

/// Iterations that are drawn for, to time it.
const DRAWN: u32 = 200;
/// More than a session makes before it records.
const WARM_UP: u32 = 6;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [device, precision, size, batch, rest @ ..] = args.as_slice() else {
        bail!("DEVICE PRECISION SIZE BATCH [ITERATIONS], as in cuda bf16 256 16");
    };
    let device = device::choose(device)?;
    let precision = serde_json::from_value(precision.as_str().into()).context("PRECISION")?;
    let size: u32 = size.parse().context("SIZE")?;
    let batch: u64 = batch.parse().context("BATCH")?;
    let iterations: u32 = rest.first().map_or(Ok(40), |n| n.parse()).context("ITERATIONS")?;
    let (kind, warning) = device::set_precision(device, precision)?;
    if let Some(warning) = warning {
        eprintln!("warning: {warning}");
    }
    let settings = RenderSettings {
        prompt: "a red sun over the sea".into(),
        size: [size; 2],
        // Far from the end, where recording would not be worth it.
        iterations: 10_000,
        ..RenderSettings::default()
    };
    let pictures: Vec<Picture> =
        (0..batch).map(|seed| Picture::new(RenderSettings { seed, ..settings.clone() })).collect();
    let each = flops::iteration(
        &VqganConfig::imagenet_f16_16384(),
        &[ClipConfig::vit_b_32()],
        [size; 2],
        settings.cutouts.count,
    );

    println!("{}", json!({ "milliseconds_of_draws": 1e3 * draws(&settings, batch, device)? }));
    let mut first: Option<Tensor> = None;
    for trial in TRIALS {
        tch::Cuda::cudnn_set_benchmark(trial.tries_all);
        let options: Options = trial.switches.parse().map_err(anyhow::Error::msg)?;
        let models = models(device, kind, &trial)?.with_options(options);
        let mut session = Session::new(&models, &pictures)?;
        for _ in 0..WARM_UP {
            session.step()?;
        }
        synchronise(device);
        let start = Instant::now();
        for _ in 0..iterations {
            session.step()?;
        }
        let given = start.elapsed().as_secs_f64();
        synchronise(device);
        let seconds = start.elapsed().as_secs_f64() / f64::from(iterations);
        let latents = session.latents();
        let first = first.get_or_insert_with(|| latents.copy());
        println!(
            "{}",
            json!({
                "switches": trial.switches,
                "layout": format!("{:?}", trial.layout).to_lowercase(),
                "folded": trial.folded,
                "fused": trial.fused && can_fuse(device, kind).is_ok(),
                "cudnn_tries_all": trial.tries_all,
                "size": size,
                "batch": batch,
                "precision": precision,
                "iterations_per_second": 1.0 / seconds,
                "milliseconds": 1e3 * seconds,
                "milliseconds_of_the_host": 1e3 * given / f64::from(iterations),
                "teraflops": each.total() as f64 * batch as f64 / seconds / 1e12,
                "apart": ((&latents - &*first).norm() / first.norm()).double_value(&[]),
                "memory": memory(device),
                "warnings": session.warnings(),
            })
        );
    }
    Ok(())
}

/// Seconds in which the host draws what an iteration of a batch needs.
fn draws(settings: &RenderSettings, batch: u64, device: Device) -> Result<f64> {
    let keys: Vec<Key> = (0..batch).map(|seed| Key::new(seed, Purpose::Init)).collect();
    let side = i64::from(settings.size[0]);
    let cutter = Cutter::new(&settings.cutouts, ClipConfig::vit_b_32().image_resolution)?;
    let ahead = cutter.ahead(&keys, [side; 2], device);
    let mut row = Vec::new();
    let begin = Instant::now();
    for iteration in 0..DRAWN {
        row.clear();
        ahead.draw(iteration, &mut row);
    }
    Ok(begin.elapsed().as_secs_f64() / f64::from(DRAWN))
}

/// Peak bytes that tensors held, then counted anew.
fn memory(device: Device) -> Option<u64> {
    let Device::Cuda(index) = device else { return None };
    let peak = device::gpu_memory(index).ok()?.allocated_peak;
    device::reset_peak(index).ok()?;
    Some(peak)
}

fn synchronise(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}

fn models(device: Device, kind: Kind, trial: &Trial) -> Result<Models> {
    let random = RandomWeights::new(1, device);
    let weights = || {
        let weights = Weights::random(&random, kind).fast().laid_out(trial.layout);
        let weights = if trial.folded { weights.folded() } else { weights };
        if trial.fused { weights.fused() } else { weights }
    };
    let generator = Box::new(Vqgan::new(&weights(), &VqganConfig::imagenet_f16_16384())?);
    Ok(Models::new(
        generator,
        vec![Box::new(Clip::new(&weights(), &ClipConfig::vit_b_32())?)],
        device,
    ))
}
