//! How busy a worker's device is over a sweep, on a farm of real processes whose store is slow:
//! every answer comes after 50 ms, and 5 MB/s go over the wire. `scripts/measure-worker.sh` calls
//! this.

use std::fs;
use std::time::{Duration, Instant};

use vqfarm_testing::proxy::Fault;
use vqfarm_tests::farm::{Farm, Setup};

/// A number from the environment, or what it is without.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn main() {
    let (cells, iterations) = (number("CELLS", 200), number("ITERATIONS", 30));
    let (delay, rate) = (number("DELAY_MS", 50), number("BYTES_PER_SECOND", 5_000_000));
    let out = std::env::var("OUT").unwrap_or_else(|_| "out/measure-worker".into());
    fs::create_dir_all(&out).expect("a folder for the trace");
    let trace = fs::canonicalize(&out).expect("the folder is there").join("trace.json");
    let trace = trace.to_str().expect("a plain path");

    let farm = Farm::new(Setup { lease: 30.0, ..Setup::with_s3() });
    for model in ["demo-f8", "demo-clip"] {
        farm.vqfarm_ok(&["models", "push", model]);
    }
    // One lane of one thread, so that another core is left for everything else.
    let mut worker = farm.worker("one", &["--trace", trace]);
    worker.wires.s3().set(Fault::Slow(Duration::from_millis(delay), rate));
    let job = format!(
        r#"
version = 1
name = "measure"

[render]
size = [96, 96]
iterations = {iterations}
generator = "demo-f8"
perceptors = ["demo-clip"]
prompt = "a red sun over the sea"
cutouts = {{ count = 16 }}

[sweep.axes]
seed = "1-{cells}"
"#
    );
    let begin = Instant::now();
    let job = farm.submit(&job, cells as usize);
    eprintln!("measure-worker: {cells} cells of {iterations} iterations");
    loop {
        let ran = farm.wait(job.id);
        match ran.status {
            0 => break,
            // Not yet.
            4 => eprintln!("measure-worker: {} cells done", farm.count(job.id, "render", "done")),
            _ => panic!("{}", ran.stderr),
        }
    }
    let took = begin.elapsed();
    worker.process.signal(rustix::process::Signal::TERM);
    worker.process.wait();
    let start = worker.process.start_of_log();
    let leaving = worker.process.wait_for_line(start, &["leaving"]);
    let computed = leaving.split("computed=").nth(1).and_then(|rest| rest.split(' ').next());
    let computed: f64 = computed.and_then(|s| s.trim().parse().ok()).expect("what it measured");
    let summary = farm.json(&["trace", trace, "--json"]);
    let seconds = summary["seconds"].as_f64().expect("a trace with pictures");
    let held_up = worker.wires.s3().fired();
    println!("the sweep took {:.1} s; the wire held up {held_up} pieces", took.as_secs_f64());
    println!(
        "by the worker's own measure {:.1} % busy of the {seconds:.1} s between the first iteration and \
         the last picture",
        100.0 * computed / seconds
    );
    println!("by its trace, {trace}:\n\n{}", farm.vqfarm_ok(&["trace", trace, "--gaps", "8"]));
}
