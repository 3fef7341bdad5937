//! `vqfarm-demo`: draws the demo models' scenes.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
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
