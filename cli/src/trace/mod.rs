//! `vqfarm trace`: what a worker's trace says of its devices.

mod gaps;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::json;

use crate::failure::Failure;
use crate::style;
use gaps::{Gap, Slice, Summary, summary};

const EXAMPLES: &str = "\
Examples:
  vqfarm render examples/sweep.toml --trace trace.json
  vqfarm trace trace.json

For the whole picture open the file at https://ui.perfetto.dev; it stays on your machine.";

/// What is shorter is not shown, in seconds.
const LEAST: f64 = 0.000_5;

/// Show how busy a worker's devices were, and the longest gaps, by its trace
///
/// FILE is what `vqfarm render --trace` or `vqfarm-worker run --trace` wrote, also of a worker that
/// still runs. Busy is the time between the first computation and the last in which a device computed.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct TraceArgs {
    /// The trace
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Gaps to show, the longest first
    #[arg(long, value_name = "N", default_value_t = 5)]
    gaps: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: TraceArgs) -> Result<ExitCode, Failure> {
    let file = args.file.display();
    let slices = read(&args.file).with_context(|| format!("{file} cannot be read"))?;
    let Some(summary) = summary(slices, args.gaps) else {
        let problem = format!("{file}: no device computed anything while this was written");
        return Err(Failure::Other(anyhow::anyhow!(problem)));
    };
    if args.json {
        print_json(&summary).context("print")?;
    } else {
        print(&summary).context("print")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One line of a trace, as far as it matters here.
#[derive(Deserialize)]
struct Line {
    ph: String,
    name: String,
    #[serde(default)]
    tid: u64,
    #[serde(default)]
    ts: f64,
    #[serde(default)]
    dur: f64,
    #[serde(default)]
    args: LineArgs,
}

#[derive(Default, Deserialize)]
struct LineArgs {
    name: Option<String>,
    cores: Option<f64>,
}

/// The slices of a trace. Its last line may be cut short.
fn read(path: &Path) -> anyhow::Result<Vec<Slice>> {
    let mut tracks = std::collections::HashMap::new();
    let mut slices = Vec::new();
    let mut cut: Option<String> = None;
    for (number, line) in BufReader::new(File::open(path)?).lines().enumerate() {
        let line = line?;
        let event = line.trim().trim_end_matches(',');
        if matches!(event, "" | "[" | "]") {
            continue;
        }
        if let Some(error) = cut {
            bail!(error);
        }
        let Ok(Line { ph, name, tid, ts, dur, args }) = serde_json::from_str(event) else {
            cut = Some(format!("line {} is none of a vqfarm trace", number + 1));
            continue;
        };
        match (ph.as_str(), args.name) {
            ("M", Some(track)) if name == "thread_name" => {
                tracks.insert(tid, track);
            }
            ("X", _) => {
                let track = tracks.get(&tid).cloned().unwrap_or_default();
                let cores = args.cores.unwrap_or(1.0);
                slices.push(Slice { track, name, begin: ts / 1e6, end: (ts + dur) / 1e6, cores });
            }
            _ => (),
        }
    }
    if let (true, Some(error)) = (slices.is_empty(), cut) {
        bail!(error);
    }
    Ok(slices)
}

fn print_json(summary: &Summary) -> io::Result<()> {
    let gap = |gap: &Gap| {
        let during: serde_json::Map<_, _> =
            gap.during.iter().map(|(name, seconds)| (name.clone(), json!(seconds))).collect();
        json!({ "lane": gap.lane, "at": gap.begin, "seconds": gap.end - gap.begin, "during": during })
    };
    let answer = json!({
        "busy": summary.busy,
        "seconds": summary.seconds(),
        "computed": summary.computed,
        "lanes": summary.lanes.iter().map(|(name, busy)| json!({ "lane": name, "busy": busy }))
            .collect::<Vec<_>>(),
        "gaps": summary.gaps.iter().map(gap).collect::<Vec<_>>(),
    });
    writeln!(io::stdout(), "{answer}")
}

fn print(summary: &Summary) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let all = percent(summary.busy);
    writeln!(out, "{} busy of {:.1} s", style::strong(&all), summary.seconds())?;
    for (lane, busy) in &summary.lanes {
        writeln!(out, "  {lane:<10} {:>8}", percent(*busy))?;
    }
    if !summary.gaps.is_empty() {
        let head = format!("{:<12} {:>9} {:>9}  {}", "gaps", "at, s", "s", "meanwhile");
        writeln!(out, "\n{}", style::strong(&head))?;
    }
    for gap in &summary.gaps {
        let during: Vec<String> = gap
            .during
            .iter()
            .filter(|(_, s)| *s >= LEAST)
            .take(4)
            .map(|(name, s)| format!("{name} {s:.3}"))
            .collect();
        let during = if during.is_empty() { "nothing".into() } else { during.join(", ") };
        let (begin, seconds) = (gap.begin, gap.end - gap.begin);
        writeln!(out, "  {:<10} {begin:>9.3} {seconds:>9.3}  {during}", gap.lane)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const HEAD: &str = r#"[
{"ph":"M","name":"thread_name","pid":1,"tid":0,"args":{"name":"lane-0"}},
{"ph":"X","name":"compute","pid":1,"tid":0,"ts":1000000.5,"dur":500000,"args":{"cores":2}},
"#;

    fn read_text(text: &str) -> anyhow::Result<Vec<Slice>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    #[test]
    fn a_trace_that_ends_in_the_middle_is_read() {
        for end in ["", "{\"ph\":\"M\",\"name\":\"end\"}\n]\n", "{\"ph\":\"X\",\"na"] {
            let slices = read_text(&format!("{HEAD}{end}")).unwrap();
            assert_eq!((slices.len(), &*slices[0].track, slices[0].cores), (1, "lane-0", 2.0));
        }
    }

    #[test]
    fn another_file_is_refused_by_its_line() {
        let error = read_text("{\"spec\": 1}\n").unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
        let error = read_text(&format!("{HEAD}nonsense\n{HEAD}")).unwrap_err().to_string();
        assert!(error.contains("line 4"), "{error}");
    }
}
