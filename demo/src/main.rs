//! `vqfarm-demo`: draws the demo models' scenes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use tch::{Device, Kind};
use vqfarm_core::render::Precision;
use vqfarm_demo::train::{generator, perceptor, run::Options};
use vqfarm_demo::{data, export, films, made_up, measure, precision, render, scene::Split, sheet};

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
    /// Write those models that have been trained as files that the farm loads.
    Export(ExportArgs),
    /// Write models of the published sizes that have learned nothing, for measuring.
    MadeUp(MadeUpArgs),
    /// Measure the models on held-out scenes and prompts.
    Measure(MeasureArgs),
    /// Measure finished zooms beside finished chains of the same scenes and cameras.
    MeasureZoom(MeasureZoomArgs),
    /// Measure whether pictures made in a lesser precision, or by sessions that compute in another way,
    /// score as high as in float32.
    MeasurePrecision(MeasurePrecisionArgs),
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
    /// `cpu`, `cuda`, `cuda:N` or `auto`.
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
    /// Scenes a step, a multiple of four.
    #[arg(long, default_value_t = 64)]
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
    /// A model file whose weights training begins with, where there is no checkpoint yet.
    #[arg(long)]
    init: Option<PathBuf>,
    /// Largest length of the changes, in pixels of [0, 1], that a perceptor learns to withstand;
    /// 0 for none, at half the time.
    #[arg(long, default_value_t = 4.0)]
    radius: f64,
    /// A trained generator: what it can be driven to show instead of a scene, a perceptor
    /// learns to refuse.
    #[arg(long)]
    generator: Option<PathBuf>,
    /// Threads that compute, on the CPU.
    #[arg(long, default_value_t = 1)]
    threads: i32,
}

#[derive(clap::Args)]
struct ExportArgs {
    /// Directory with `generator`, `perceptor` and `judge` or some of them, the --work of each
    /// training.
    #[arg(long)]
    work: PathBuf,
    /// Directory of the model files.
    #[arg(long, default_value = "assets/models")]
    models: PathBuf,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Dtype {
    F16,
    F32,
}

#[derive(clap::Args)]
struct MadeUpArgs {
    /// Directory of the model files, which must be there.
    #[arg(long)]
    models: PathBuf,
    /// Precision of the weights.
    #[arg(long, default_value = "f32")]
    dtype: Dtype,
}

#[derive(clap::Args)]
struct MeasureArgs {
    /// Directory of the model files.
    #[arg(long, default_value = "assets/models")]
    models: PathBuf,
    /// Directory for sheets to look at.
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value = "cpu", value_parser = device)]
    device: Device,
    /// The job whose [render] table says how pictures are rendered.
    #[arg(long, default_value = "examples/sweep.toml")]
    job: PathBuf,
    /// Changes a setting of the job, as in render.iterations=50.
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// How many scenes to redraw and recognise, 64 at least.
    #[arg(long, default_value_t = measure::SCENES, value_parser = clap::value_parser!(u32).range(64..=65536))]
    scenes: u32,
    /// How many of the 32 prompts to render.
    #[arg(long, default_value_t = measure::PROMPTS, value_parser = clap::value_parser!(u32).range(1..=32))]
    prompts: u32,
    /// Print the figures as one line of JSON.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct MeasureZoomArgs {
    /// The folder in which `vqfarm render` left a zoom; several give their means as well.
    #[arg(long, required = true, num_args = 1..)]
    zoom: Vec<PathBuf>,
    /// The folder of the film with mode = "feedback" that goes with each zoom.
    #[arg(long, required = true, num_args = 1..)]
    feedback: Vec<PathBuf>,
    /// Directory of the model files.
    #[arg(long, default_value = "assets/models")]
    models: PathBuf,
    #[arg(long, default_value = "cpu", value_parser = device)]
    device: Device,
    /// Print the figures as JSON: a line for each zoom, the last one their means.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct MeasurePrecisionArgs {
    /// What to compare with float32: bf16, and on a GPU tf32.
    #[arg(long, num_args = 1.., default_value = "bf16", value_parser = lesser_precision)]
    precision: Vec<Precision>,
    /// What else to compare: float32 with these switches of the loop, as in composed=on.
    #[arg(long, value_name = "SWITCHES")]
    session: Option<String>,
    /// Directory of the model files.
    #[arg(long, default_value = "assets/models")]
    models: PathBuf,
    #[arg(long, default_value = "cpu", value_parser = device)]
    device: Device,
    /// The job whose [render] table says how pictures are rendered.
    #[arg(long, default_value = "examples/sweep.toml")]
    job: PathBuf,
    /// Changes a setting of the job, as in render.iterations=50.
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// How many prompts to render, each from a seed of its own.
    #[arg(long, default_value_t = measure::PROMPTS, value_parser = clap::value_parser!(u32).range(2..=4096))]
    prompts: u32,
    /// Print the figures as JSON, a line each.
    #[arg(long)]
    json: bool,
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

fn device(name: &str) -> Result<Device, String> {
    vqfarm_engine::device::choose(name).map_err(|e| e.to_string())
}

fn lesser_precision(name: &str) -> Result<Precision, String> {
    match name {
        "bf16" => Ok(Precision::Bf16),
        "tf32" => Ok(Precision::Tf32),
        _ => Err("choose bf16 or tf32".into()),
    }
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Scenes(args) => scenes(&args),
        Command::Train(args) => train(args),
        Command::MadeUp(args) => made_up::write(&args.models, matches!(args.dtype, Dtype::F16)),
        Command::Measure(args) => report(&args),
        Command::MeasureZoom(args) => report_zoom(&args),
        Command::MeasurePrecision(args) => report_precision(&args),
        Command::Export(args) => {
            std::fs::create_dir_all(&args.models)
                .with_context(|| format!("make {}", args.models.display()))?;
            export::all(&args.work, &args.models)
        }
    }
}

fn report(args: &MeasureArgs) -> Result<()> {
    // Lanes are threads enough: more would only wait for one another.
    tch::set_num_threads(1);
    let settings = render::settings(&args.job, &args.set)?;
    let r = measure::measure(
        &args.models,
        &args.out,
        &settings,
        (args.scenes, args.prompts),
        args.device,
    )?;
    if args.json {
        println!("{}", serde_json::to_string(&r)?);
        return Ok(());
    }
    println!("reconstruction             {:6.2} dB", r.reconstruction_psnr);
    println!("edge sharpness             {:6.2}", r.edge_sharpness);
    println!("own caption first of 64    {:6.1} %", r.caption_first_of_64);
    println!("… for the judge            {:6.1} %", r.judge_caption_first_of_64);
    println!("prompt first of 32         {:6.1} %", r.prompt_first_of_32);
    println!("prompt in the first three  {:6.1} %", r.prompt_in_first_3_of_32);
    let (made, drawn) = (r.judge_score, r.judge_score_of_drawn);
    println!("judge's score              {made:6.3} ({drawn:.3} of drawn pictures)");
    println!("a picture took             {:6.2} s", r.seconds_per_picture);
    println!("sheets in {}", args.out.display());
    Ok(())
}

fn report_zoom(args: &MeasureZoomArgs) -> Result<()> {
    tch::set_num_threads(1);
    let (zooms, chains) = (args.zoom.len(), args.feedback.len());
    ensure!(zooms == chains, "--zoom names {zooms} folders, --feedback {chains}");
    let tell = |title: &str, report: &films::Report| -> Result<()> {
        match args.json {
            true => println!("{}", serde_json::to_string(report)?),
            false => println!("{title}\n{report}\n"),
        }
        Ok(())
    };
    let mut reports = Vec::new();
    for (zoom, feedback) in args.zoom.iter().zip(&args.feedback) {
        let report = films::compare(zoom, feedback, &args.models, args.device)
            .with_context(|| format!("measure {}", zoom.display()))?;
        tell(&zoom.display().to_string(), &report)?;
        reports.push(report);
    }
    match films::Report::mean(&reports) {
        Some(mean) if zooms > 1 => tell("mean", &mean),
        _ => Ok(()),
    }
}

fn report_precision(args: &MeasurePrecisionArgs) -> Result<()> {
    tch::set_num_threads(1);
    let settings = render::settings(&args.job, &args.set)?;
    let trials =
        precision::Trials { precisions: &args.precision, session: args.session.as_deref() };
    let all = precision::compare(&args.models, &settings, args.prompts, &trials, args.device)?;
    if args.json {
        for compared in &all {
            println!("{}", serde_json::to_string(compared)?);
        }
        return Ok(());
    }
    println!("{} prompts, cosine of picture and prompt (more than float32)", args.prompts);
    for precision::Compared { what, perceptor, judge, .. } in &all {
        println!(
            "{what:<21} perceptor {:.4} ({:+.4} ± {:.4})   judge {:.4} ({:+.4} ± {:.4})",
            perceptor.mean, perceptor.more, perceptor.error, judge.mean, judge.more, judge.error
        );
    }
    Ok(())
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
        init: args.init,
        radius: args.radius,
        generator: args.generator,
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
