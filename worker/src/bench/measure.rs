//! One kind of pictures, measured in a process of its own.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};
use vqfarm_core::render::{Cutouts, RenderSettings};
use vqfarm_engine::model::Perceptor;
use vqfarm_engine::net::{Clip, RandomWeights, Vqgan, Weights, can_fuse};
use vqfarm_engine::session::{Options, Stage};
use vqfarm_engine::{EngineError, Models, Picture, Session, device, flops};
use vqfarm_weights::memory::{Batch, Networks, Thrift};

use super::rate::{matrices, synchronise};
use super::{BenchArgs, Subject, ThriftArg};
use crate::budget::{Budget, Plan};
use crate::memory;
use crate::panic::said;

/// What became of a measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    Measured(Box<Report>),
    OutOfMemory {
        #[serde(flatten)]
        subject: Subject,
        /// Always true; tells the two apart.
        out_of_memory: bool,
    },
}

/// What was measured; times in seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    #[serde(flatten)]
    pub subject: Subject,
    pub device: String,
    pub cutouts: u32,
    /// How the memory was used ([`vqfarm_weights::memory::Thrift`]).
    pub thrift: String,
    /// That were measured.
    pub iterations: u32,
    pub threads: i32,
    /// Of one iteration of the batch.
    pub seconds: f64,
    /// Iterations of all pictures of the batch together.
    pub iterations_per_second: f64,
    /// Iterations that a picture is reckoned with in `images_per_hour`.
    pub image_iterations: u32,
    pub images_per_hour: f64,
    /// How the loop ran ([`vqfarm_engine::session::Options`]).
    pub session: String,
    /// Bytes at the worst moment: of the process on a CPU; of the GPU, whoever uses it.
    pub peak_memory: u64,
    /// Bytes that were estimated beforehand.
    pub estimated_memory: u64,
    /// Of one iteration of the batch; on a GPU of one that is not repeated as a whole.
    pub stages: BTreeMap<String, f64>,
    /// Floating-point operations that one iteration of one picture takes.
    pub flops_per_iteration: u64,
    pub flops_per_second: f64,
    /// Of a large product of matrices in the same precision on the same device.
    pub matrix_flops_per_second: f64,
    /// The one by the other.
    pub utilisation: f64,
}

/// Measures in this process.
///
/// # Errors
/// There is no such device, or libtorch fails otherwise than for want of memory.
pub fn measure(args: &BenchArgs, subject: Subject) -> Result<Outcome> {
    // What tch refuses is a panic; it is told in a line, not with libtorch's stack.
    panic::set_hook(Box::new(|_| ()));
    let tried = catch_unwind(AssertUnwindSafe(|| try_measure(args, &subject)));
    let tried = tried.unwrap_or_else(|panic| Err(EngineError::Failed(said(&*panic).into()).into()));
    match tried {
        Ok(report) => Ok(Outcome::Measured(Box::new(report))),
        Err(error) if wants_memory(&error) => {
            Ok(Outcome::OutOfMemory { subject, out_of_memory: true })
        }
        Err(error) => Err(error),
    }
}

fn wants_memory(error: &anyhow::Error) -> bool {
    error.downcast_ref::<EngineError>().is_some_and(EngineError::is_out_of_memory)
}

fn try_measure(args: &BenchArgs, subject: &Subject) -> Result<Report> {
    let device = device::choose(&args.device)?;
    let (kind, warning) = device::set_precision(device, subject.precision)?;
    if let Some(warning) = warning {
        eprintln!("warning: {warning}");
    }
    let budget = Budget::of(device, 1, args.memory)?;
    let networks = args.models.networks();
    let batch = Batch {
        pictures: subject.batch,
        size: [subject.size; 2],
        cutouts: args.cutouts,
        bf16: kind == Kind::BFloat16,
        cuda: device.is_cuda(),
    };
    let thrift = match args.thrift {
        ThriftArg::Quick => Thrift::default(),
        ThriftArg::Frugal => batch.most_frugal(),
        ThriftArg::Auto => {
            let Plan { pictures, thrift } = budget.plan(&networks, &batch);
            if pictures < batch.pictures {
                return Err(EngineError::Failed("out of memory, as estimated".into()).into());
            }
            thrift
        }
    };
    let options = session_options(&args.session)?;
    if device.is_cuda()
        && options.fused != Some(false)
        && let Err(why) = can_fuse(device, kind)
    {
        eprintln!("warning: {why}");
    }
    let models = made_up(&networks, device, kind, options)?;
    let pictures: Vec<Picture> =
        (0..subject.batch).map(|seed| Picture::new(settings(args, subject, seed))).collect();
    let mut session = Session::new(&models, &pictures)?;
    session.set_thrift(thrift);
    // Stages of what a GPU repeats as a whole cannot be told apart: it is measured first.
    let in_stages = (!device.is_cuda()).then(|| clocked(&mut session, device));
    run(&mut session, args.warm_up.max(least_warm_up(device)), device)?;
    if let Some(stages) = &in_stages {
        lock(stages).clear();
    }
    let seconds = run(&mut session, args.iterations, device)?;
    // Before the rate is measured, which takes memory of its own.
    let peak_memory = memory::peak(device)?;
    if session.losses()?.iter().any(|loss| !loss.total().is_finite()) {
        bail!("the loss is not a number");
    }
    let (stages, clocked) = match in_stages {
        Some(stages) => (stages, args.iterations),
        None => {
            let (stages, iterations) = (clocked(&mut session, device), args.iterations.min(5));
            run(&mut session, iterations, device)?;
            (stages, iterations)
        }
    };
    for warning in session.warnings() {
        eprintln!("warning: {warning}");
    }
    drop(session);
    let iterations_per_second = f64::from(subject.batch) / seconds;
    let size = [subject.size; 2];
    let flops =
        flops::iteration(&networks.generator, &networks.perceptors, size, args.cutouts).total();
    let flops_per_second = flops as f64 * iterations_per_second;
    let matrix_flops_per_second = matrices(device, kind)?;
    let share = |(stage, time): (&Stage, &Duration)| {
        (name(*stage).to_owned(), time.as_secs_f64() / f64::from(clocked))
    };
    let report = Report {
        subject: subject.clone(),
        device: format!("{device:?}").to_lowercase(),
        cutouts: args.cutouts,
        thrift: thrift.to_string(),
        iterations: args.iterations,
        threads: tch::get_num_threads(),
        seconds,
        iterations_per_second,
        image_iterations: args.job_iterations,
        images_per_hour: 3600.0 * iterations_per_second / f64::from(args.job_iterations),
        session: args.session.clone(),
        peak_memory,
        estimated_memory: networks.estimate(&batch, thrift).total(),
        stages: lock(&stages).iter().map(share).collect(),
        flops_per_iteration: flops,
        flops_per_second,
        matrix_flops_per_second,
        utilisation: flops_per_second / matrix_flops_per_second,
    };
    Ok(report)
}

fn session_options(text: &str) -> Result<Options> {
    text.parse().map_err(anyhow::Error::msg)
}

/// Seconds an iteration.
fn run(session: &mut Session<'_>, iterations: u32, device: Device) -> Result<f64> {
    synchronise(device);
    let begin = Instant::now();
    for _ in 0..iterations {
        session.step()?;
    }
    synchronise(device);
    Ok(begin.elapsed().as_secs_f64() / f64::from(iterations.max(1)))
}

/// A GPU's session records an iteration after a few.
fn least_warm_up(device: Device) -> u32 {
    if device.is_cuda() { 6 } else { 0 }
}

fn settings(args: &BenchArgs, subject: &Subject, seed: u32) -> RenderSettings {
    RenderSettings {
        prompt: "a red sun over the sea".into(),
        seed: seed.into(),
        size: [subject.size; 2],
        // Far from the end, where recording would not be worth it.
        iterations: 100_000,
        cutouts: Cutouts { count: args.cutouts, ..Cutouts::default() },
        ..RenderSettings::default()
    }
}

type Stages = Arc<Mutex<BTreeMap<Stage, Duration>>>;

fn clocked(session: &mut Session<'_>, device: Device) -> Stages {
    let stages = Stages::default();
    let into = Arc::clone(&stages);
    let mut last = Instant::now();
    session.set_clock(Box::new(move |stage| {
        synchronise(device);
        let now = Instant::now();
        *lock(&into).entry(stage).or_default() += now - last;
        last = now;
    }));
    stages
}

fn lock(stages: &Stages) -> std::sync::MutexGuard<'_, BTreeMap<Stage, Duration>> {
    stages.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Networks of these sizes: speed does not depend on what the weights say.
fn made_up(networks: &Networks, device: Device, kind: Kind, options: Options) -> Result<Models> {
    let weights = RandomWeights::new(1, device);
    let weights = Weights::random(&weights, kind).quickest(device, &options);
    let generator = Vqgan::new(&weights, &networks.generator)?;
    let mut perceptors: Vec<Box<dyn Perceptor>> = Vec::new();
    for config in &networks.perceptors {
        perceptors.push(Box::new(Clip::new(&weights, config)?));
    }
    Ok(Models::new(Box::new(generator), perceptors, device).with_options(options))
}
