//! `vqfarm-demo`: draws the demo models' scenes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tch::{Device, Kind};
use vqfarm_demo::train::{generator, perceptor, run::Options};
use vqfarm_demo::{data, scene::Split, sheet};

#[derive(Parser)]
#[command(version, about = "Draws scenes, trains the demo models on them, measures the models")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Draw a sheet of scenes and print their captions.
    Scenes(ScenesArgs),
    /// Train a model, from the start or from its last checkpoint.
    Train(TrainArgs),
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Model {
    Generator,
    /// A second perceptor of another seed is the judge.
    Perceptor,
}

#[derive(clap::Args)]
struct TrainArgs {
    model: Model,
    /// Directory of the checkpoints.
    #[arg(long)]
    work: PathBuf,
    /// `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "cpu", value_parser = device)]
    device: Device,
    /// Compute in bfloat16; weights and losses stay float32.
    #[arg(long)]
    bf16: bool,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps that the learning rate's schedule spans.
    #[arg(long, default_value_t = 6000)]
    steps: i64,
    #[arg(long, default_value_t = 16)]
    batch: i64,
    /// Peak learning rate.
    #[arg(long, default_value_t = 1e-3)]
    rate: f64,
    /// Stop, to be continued, after so many minutes.
    #[arg(long, default_value_t = 1e6)]
    minutes: f64,
    /// Threads that draw scenes.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    draw_threads: u64,
    /// Threads that compute, on the CPU.
    #[arg(long, default_value_t = 1)]
    threads: i32,
}

fn device(name: &str) -> Result<Device, String> {
    match (name, name.strip_prefix("cuda:").map(str::parse)) {
        ("cpu", _) => Ok(Device::Cpu),
        ("cuda", _) => Ok(Device::Cuda(0)),
        (_, Some(Ok(n))) => Ok(Device::Cuda(n)),
        _ => Err("cpu, cuda or cuda:N is expected".into()),
    }
}

#[derive(clap::Args)]
struct ScenesArgs {
    /// How many scenes.
    #[arg(long, default_value_t = 64)]
    count: u32,
    /// The PNG to write.
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Side of a picture in pixels.
    #[arg(long, default_value_t = data::SIZE, value_parser = clap::value_parser!(u32).range(16..=2048))]
    size: u32,
    #[arg(long, default_value_t = 8)]
    columns: u32,
    /// Draw held-out combinations, which training never shows.
    #[arg(long)]
    held_out: bool,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Scenes(args) => scenes(&args),
        Command::Train(args) => train(args),
    }
}

fn train(args: TrainArgs) -> Result<()> {
    tch::set_num_threads(args.threads);
    let options = Options {
        work: args.work,
        device: args.device,
        kind: if args.bf16 { Kind::BFloat16 } else { Kind::Float },
        seed: args.seed,
        steps: args.steps,
        batch: args.batch,
        rate: args.rate,
        limit: Duration::from_secs_f64(60.0 * args.minutes),
        threads: args.draw_threads,
    };
    match args.model {
        Model::Generator => generator::train(options),
        Model::Perceptor => perceptor::train(options),
    }
}

fn scenes(args: &ScenesArgs) -> Result<()> {
    let split = if args.held_out { Split::HeldOut } else { Split::Train };
    let samples: Vec<_> =
        (0..args.count).map(|i| data::sample(args.seed, i, split, args.size)).collect();
    for (i, sample) in samples.iter().enumerate() {
        println!("{i:4}  {}", sample.caption.text);
    }
    let pictures: Vec<_> = samples.into_iter().map(|s| s.pixels).collect();
    sheet::write(&args.out, &pictures, args.size, args.columns)
}
