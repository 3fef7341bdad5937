//! `vqfarm plot`: what a job's schedules come to, frame by frame.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use plotters::prelude::{
    BitMapBackend, ChartBuilder, Color, FontStyle, IntoDrawingArea, IntoFont, LineSeries, RGBColor,
    WHITE,
};
use plotters::style::register_font;
use serde_json::json;
use vqfarm_core::animation::Timeline;

use crate::failure::Failure;
use crate::job::{self, JobArgs};
use crate::style;

/// Draw the schedules of an animation: zoom, angle, iterations and all that changes over time
#[derive(Args)]
pub struct PlotArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Draw into this PNG instead of the terminal
    #[arg(short, long, value_name = "FILE.png")]
    out: Option<PathBuf>,
    /// Draw also what is the same in every frame
    #[arg(long)]
    all: bool,
    /// Print one JSON object a frame: its number, prompt and every value
    #[arg(long, conflicts_with = "out")]
    json: bool,
}

/// One field over all frames.
struct Series {
    name: &'static str,
    values: Vec<f64>,
}

pub fn run(args: PlotArgs) -> Result<ExitCode, Failure> {
    let library = job::library(args.job.models.as_deref())?;
    let job = job::load(&args.job, &library)?.job;
    let Some(animation) = &job.animation else {
        let message = "this job has no [animation], so nothing changes over time";
        return Err(Failure::Usage(message.into()));
    };
    let timeline = Timeline::new(&job, animation).context("the job has no timeline")?;
    let all = series(&timeline)?;
    if args.json {
        print_json(&timeline, &all)?;
        return Ok(ExitCode::SUCCESS);
    }
    let shown: Vec<Series> =
        all.into_iter().filter(|series| args.all || !is_flat(&series.values)).collect();
    if shown.is_empty() {
        anstream::eprintln!("every value is the same in all frames; --all draws them all the same");
        return Ok(ExitCode::SUCCESS);
    }
    match &args.out {
        Some(file) => {
            draw(file, &shown).with_context(|| format!("draw {}", file.display()))?;
            writeln!(io::stdout(), "{}", file.display()).context("print")?;
        }
        None => print(&shown).context("print")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn series(timeline: &Timeline) -> anyhow::Result<Vec<Series>> {
    let of = |(name, schedule): (&'static str, vqfarm_core::schedule::Schedule)| {
        let values = (0..timeline.len()).map(|n| schedule.at(&timeline.moment(n as f64)));
        let values = values.collect::<Result<_, _>>().with_context(|| name)?;
        Ok(Series { name, values })
    };
    timeline.schedules().into_iter().map(of).collect()
}

fn is_flat(values: &[f64]) -> bool {
    values.iter().all(|value| *value == values[0])
}

/// The least and the greatest value, never the same.
fn range(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if low < high { (low, high) } else { (low - 0.5, high + 0.5) }
}

fn print_json(timeline: &Timeline, all: &[Series]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    for n in 0..timeline.len() {
        let frame = timeline.frame(n)?;
        let mut line = json!({
            "frame": n,
            "shot": timeline.shot_of(n) + 1,
            "prompt": frame.render.prompt,
        });
        for Series { name, values } in all {
            let short = name.rsplit('.').next().unwrap_or(name);
            line[short] = json!(values[n as usize]);
        }
        line["iterations"] = json!(frame.render.iterations);
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Rows of a chart in the terminal, and its columns at most.
const ROWS: usize = 8;
const COLUMNS: usize = 72;

fn print(all: &[Series]) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    for Series { name, values } in all {
        let (low, high) = range(values);
        let columns = values.len().min(COLUMNS);
        let at = |column: usize| values[column * (values.len() - 1) / (columns - 1).max(1)];
        // Eighths of a row, as the block characters have them.
        let heights: Vec<usize> = (0..columns)
            .map(|column| {
                let share = (at(column) - low) / (high - low);
                (share * (ROWS * 8 - 1) as f64).round() as usize + 1
            })
            .collect();
        writeln!(out, "{}", style::strong(name))?;
        for row in (0..ROWS).rev() {
            let label = match row {
                0 => format!("{low:.4}"),
                _ if row == ROWS - 1 => format!("{high:.4}"),
                _ => String::new(),
            };
            let line: String = heights
                .iter()
                .map(|height| match height.saturating_sub(row * 8) {
                    0 => ' ',
                    eighths => char::from_u32(0x2580 + eighths.min(8) as u32).unwrap_or(' '),
                })
                .collect();
            writeln!(out, "{label:>10} │{line}")?;
        }
        let last = format!("{}", values.len() - 1);
        writeln!(out, "{:>10} └{}", "", "─".repeat(columns))?;
        writeln!(out, "{:>12}{last:>width$}\n", "0", width = columns.saturating_sub(1))?;
    }
    Ok(())
}

const FONT: &[u8] = include_bytes!("../../assets/fonts/Inter-Regular.otf");
const WIDTH: u32 = 1000;
/// Height of one chart in pixels.
const CHART: u32 = 180;
const INK: RGBColor = RGBColor(200, 60, 40);
const GREY: RGBColor = RGBColor(225, 225, 225);

fn draw(file: &Path, all: &[Series]) -> anyhow::Result<()> {
    // Registering the same font again changes nothing.
    let _ = register_font("sans-serif", FontStyle::Normal, FONT);
    let height = CHART * all.len() as u32;
    let root = BitMapBackend::new(file, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, Series { name, values }) in root.split_evenly((all.len(), 1)).iter().zip(all) {
        let (low, high) = range(values);
        let room = (high - low) * 0.08;
        let last = (values.len() - 1).max(1) as f64;
        let mut chart = ChartBuilder::on(area)
            .caption(name, ("sans-serif", 17).into_font())
            .margin(8)
            .x_label_area_size(24)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..last, low - room..high + room)?;
        let label = |value: &f64| {
            format!("{value:.4}").trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(GREY)
            .y_labels(5)
            .x_label_formatter(&|frame| format!("{frame:.0}"))
            .y_label_formatter(&label)
            .label_style(("sans-serif", 13).into_font())
            .draw()?;
        let points = values.iter().enumerate().map(|(n, value)| (n as f64, *value));
        chart.draw_series(LineSeries::new(points, INK.stroke_width(2)))?;
    }
    root.present()?;
    Ok(())
}
