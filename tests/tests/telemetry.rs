//! OpenTelemetry: one trace of a job over all programs, and no harm where nobody listens.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use vqfarm_core::id::JobId;
use vqfarm_core::keys;
use vqfarm_core::record::JobRecord;
use vqfarm_tests::collector::{Collector, Span, variables};
use vqfarm_tests::farm::{Farm, Setup, Worker, film, sweep};
use vqfarm_tests::{Bench, CELLS, SWEEP, finish};

/// A farm all of whose programs export to a collector.
fn farm(variables: Vec<(&'static str, String)>) -> Farm {
    Farm::new(Setup { variables, ..Setup::default() })
}

fn record(farm: &Farm, job: JobId) -> JobRecord {
    let json = farm.stored.get(job, keys::JOB_RECORD).expect("a record");
    serde_json::from_slice(&json).expect("a record is JSON")
}

/// Ends worker and coordinator, which deliver their last spans then.
fn end(farm: &mut Farm, worker: &mut Worker) {
    for process in [&mut worker.process, &mut farm.coordinator.process] {
        process.signal(Signal::TERM);
        assert!(process.wait().success());
    }
}

/// The spans of a job's trace, by their ids, from the command's on; no parent is missing.
fn trace_of(farm: &Farm, job: JobId, collector: &Collector) -> BTreeMap<String, Span> {
    let trace = record(farm, job).trace.expect("the record names the trace");
    assert_eq!(trace.len(), 55, "{trace}");
    let trace_id = &trace[3..35];
    let all = collector.spans().into_iter().filter(|span| span.trace == trace_id);
    let spans: BTreeMap<String, Span> = all.map(|span| (span.id.clone(), span)).collect();
    for span in spans.values() {
        match span.parent.as_str() {
            "" => assert_eq!((&*span.service, &*span.name), ("vqfarm", "vqfarm submit")),
            parent => assert!(spans.contains_key(parent), "no parent of {span:?}"),
        }
    }
    spans
}

/// The names of a span's ancestors, its own first.
fn lineage<'a>(spans: &'a BTreeMap<String, Span>, span: &'a Span) -> Vec<&'a str> {
    let parent = |span: &&'a Span| spans.get(&span.parent);
    std::iter::successors(Some(span), parent).map(|span| span.name.as_str()).collect()
}

/// All names below a span.
fn below<'a>(spans: &'a BTreeMap<String, Span>, above: &Span) -> BTreeSet<&'a str> {
    let is_below = |span: &&Span| {
        let parent = |span: &&'a Span| spans.get(&span.parent);
        let first = spans.get(&span.parent);
        std::iter::successors(first, parent).any(|found| found.id == above.id)
    };
    spans.values().filter(is_below).map(|span| span.name.as_str()).collect()
}

fn tasks(spans: &BTreeMap<String, Span>) -> Vec<&Span> {
    spans.values().filter(|span| span.name == "task").collect()
}

#[test]
fn a_job_is_one_trace_from_its_submit_to_its_last_commit() {
    let collector = Collector::start();
    let mut variables = collector.over_http();
    variables.push(("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=studio".into()));
    variables.push(("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test".into()));
    let mut farm = farm(variables);
    let slices = farm.path("trace.json");
    let flags = ["--trace", slices.to_str().expect("a plain path"), "--log-format", "json"];
    let mut one = farm.worker("one", &flags);
    let job = farm.submit(&sweep(3, 5), 3);
    farm.prove(&job);
    end(&mut farm, &mut one);

    // Whoever has the logs finds the trace, and the file of slices is as it was.
    let trace_id =
        format!("\"trace_id\":\"{}\"", &record(&farm, job.id).trace.expect("a trace")[3..35]);
    let log = one.process.log();
    let committed = log.lines().filter(|line| line.contains("committed"));
    assert!(
        committed.clone().count() == 3 && committed.clone().all(|l| l.contains(&trace_id)),
        "{log}"
    );
    let slices = fs::read_to_string(&slices).expect("the slices");
    assert!(slices.contains("\"compute\"") && !slices.contains("otel."), "{slices}");

    let spans = trace_of(&farm, job.id, &collector);
    let planned = ["plan", "vqfarm.v1.Farm/Submit", "vqfarm.v1.Farm/Submit", "vqfarm submit"];
    let id = job.id.to_string();
    let is_planned =
        |span: &&Span| span.name == "plan" && span.attribute("vqfarm.dry_run") == "false";
    let plan = spans.values().find(is_planned).expect("it was planned");
    assert_eq!(lineage(&spans, plan), planned);
    assert_eq!((plan.attribute("vqfarm.job"), plan.attribute("vqfarm.tasks")), (&*id, "4"));
    for step in ["check", "store", "enqueue"] {
        assert!(below(&spans, plan).contains(step), "no {step} in {spans:#?}");
    }
    let calls: Vec<&Span> = spans.values().filter(|s| s.name == planned[1]).collect();
    let services: BTreeSet<&str> = calls.iter().map(|call| call.service.as_str()).collect();
    assert_eq!(services, BTreeSet::from(["vqfarm", "vqfarm-coordinator"]));
    for call in calls {
        let told = ["rpc.system", "rpc.service", "rpc.method", "rpc.grpc.status_code"];
        let told = told.map(|name| call.attribute(name));
        assert_eq!(told, ["grpc", "vqfarm.v1.Farm", "Submit", "0"]);
    }

    let tasks = tasks(&spans);
    assert_eq!(tasks.len(), 4, "{tasks:#?}");
    for task in tasks {
        assert_eq!(lineage(&spans, task)[1..], planned);
        assert_eq!(task.service, "vqfarm-worker");
        let told = ["job", "attempt", "worker"].map(|n| task.attribute(&format!("vqfarm.{n}")));
        assert_eq!(told, [&*id, "1", "one"]);
        assert!(!task.failed);
        let (outcome, steps): (&str, &[&str]) = match task.attribute("vqfarm.layer") {
            "0" => ("rendered", &["render", "batch", "compute", "publish", "encode", "upload"]),
            _ => ("stitched", &["stitch"]),
        };
        assert_eq!(task.attribute("vqfarm.outcome"), outcome);
        let below = below(&spans, task);
        for step in steps.iter().chain(&["prepare", "commit", "store log"]) {
            assert!(below.contains(step), "no {step} in {below:?} of {task:?}");
        }
    }
    let render = spans.values().find(|span| span.name == "render").expect("a render");
    assert_eq!(render.attribute("vqfarm.device"), "cpu");
    let fetched = spans.values().filter(|span| span.name == "fetch model").count();
    assert_eq!(fetched, 2, "the tiny models");

    // Leasing and heartbeats make no traces of their own, and what is not named is not told.
    let roots = collector.spans().into_iter().filter(|span| span.parent.is_empty());
    let roots: BTreeSet<String> = roots.map(|span| span.name).collect();
    assert!(roots.iter().all(|name| name.starts_with("vqfarm ")), "{roots:?}");
    let (words, headers) = (collector.words(), collector.headers());
    assert!(headers.contains("x-tenant") && headers.contains("studio"), "the headers go along");
    assert!(words.contains("deployment.environment"), "the resource's attributes, too");
    assert!(!words.contains("red sun"), "no prompt is told");
}

#[test]
fn an_attempt_that_fails_says_so_and_the_next_is_a_span_of_its_own() {
    let collector = Collector::start();
    let mut farm = farm(collector.over_grpc());
    let job = farm.submit(&sweep(1, 3), 1);
    let model = &record(&farm, job.id).models["tiny-f4"];
    let model = farm.stored.path(&keys::model(model));
    let away = model.with_extension("away");
    fs::rename(&model, &away).expect("the model is there");
    let mut one = farm.worker("one", &[]);
    farm.wait_for_count(job.id, "render", "delayed", 1);
    fs::rename(&away, &model).expect("it is ours");
    farm.prove(&job);
    end(&mut farm, &mut one);

    let spans = trace_of(&farm, job.id, &collector);
    let mut attempts = tasks(&spans);
    attempts.retain(|task| task.attribute("vqfarm.layer") == "0");
    attempts.sort_by_key(|task| task.attribute("vqfarm.attempt").to_owned());
    let told = |task: &&Span| {
        let [attempt, outcome] =
            ["attempt", "outcome"].map(|n| task.attribute(&format!("vqfarm.{n}")).to_owned());
        (attempt, outcome, task.failed)
    };
    let told: Vec<_> = attempts.iter().map(told).collect();
    let last = told.len().to_string();
    assert!(told.len() >= 2, "{told:?}");
    assert_eq!(told[0], ("1".into(), "failed".into(), true));
    assert_eq!(told.last().cloned(), Some((last, "rendered".into(), false)));
}

#[test]
fn the_link_outlives_the_coordinator() {
    let collector = Collector::start();
    let mut farm = farm(collector.over_http());
    let job = farm.submit(&film(3), 12);
    farm.coordinator.process.kill();
    farm.restart_coordinator();
    let mut one = farm.worker("one", &[]);
    let waited = farm.wait(job.id);
    assert_eq!(waited.status, 0, "{}", waited.stderr);
    end(&mut farm, &mut one);
    let trace = record(&farm, job.id).trace.expect("the record names the trace");
    let tasks: Vec<Span> =
        collector.spans().into_iter().filter(|span| span.name == "task").collect();
    assert_eq!(tasks.len(), 5, "four segments and the film");
    for task in tasks {
        assert_eq!((&*task.trace, &*task.parent), (&trace[3..35], &trace[36..52]), "{task:?}");
    }
}

#[test]
fn a_render_goes_on_with_the_trace_that_it_was_started_in() {
    let collector = Collector::start();
    let bench = Bench::new(SWEEP);
    let mut render = bench.vqfarm(&["render", "job.toml", "--out", "out", "--device", "cpu"]);
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    render.envs(collector.over_http()).env("TRACEPARENT", format!("00-{trace}-{parent}-01"));
    let ran = finish(&mut render);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let spans = collector.spans();
    let command = spans.iter().find(|span| span.name == "vqfarm render").expect("the command");
    assert_eq!((&*command.trace, &*command.parent), (trace, parent));
    let tasks: Vec<&Span> = spans.iter().filter(|span| span.name == "task").collect();
    assert_eq!(tasks.len(), CELLS + 1, "each cell, and the stitching");
    for task in tasks {
        assert_eq!((&*task.service, &task.parent), ("vqfarm-worker", &command.id));
    }
}

/// An address where connections are taken and nothing is ever answered, and how many there were.
fn silent() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::Relaxed);
            thread::spawn(move || while stream.read(&mut [0; 512]).is_ok_and(|read| read > 0) {});
        }
    });
    (format!("http://{address}"), seen)
}

#[test]
fn nobody_waits_for_a_collector_that_does_not_answer() {
    let refusing = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let refusing = format!("http://{}", refusing.expect("a free port"));
    let (hanging, seen) = silent();
    for (endpoint, protocol) in [
        (&refusing, "http/protobuf"),
        (&refusing, "grpc"),
        (&hanging, "http/protobuf"),
        (&hanging, "grpc"),
    ] {
        let mut variables = variables(endpoint.clone());
        variables.push(("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.into()));
        // As good as for ever.
        variables.push(("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000".into()));
        let mut farm = farm(variables);
        let mut one = farm.worker("one", &[]);
        let job = farm.submit(&sweep(2, 3), 2);
        farm.prove(&job);
        let begin = Instant::now();
        let jobs = farm.vqfarm(&["jobs"]);
        assert_eq!(jobs.status, 0, "{}", jobs.stderr);
        assert!(jobs.stderr.contains("no traces were exported"), "{}", jobs.stderr);
        assert!(
            !jobs.stderr.contains(endpoint.as_str()),
            "it may hold a password: {}",
            jobs.stderr
        );
        end(&mut farm, &mut one);
        // Two seconds each, and a busy machine.
        assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
        let warnings = one.process.log().matches("traces are not delivered").count();
        assert_eq!(warnings, 1, "said once: {}", one.process.log());
    }
    assert!(seen.load(Ordering::Relaxed) > 0, "somebody has tried");
}

#[test]
fn where_nobody_asks_for_traces_none_are_made() {
    let (endpoint, seen) = silent();
    for (name, value) in [("OTEL_SDK_DISABLED", "true"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "")] {
        let mut variables = variables(endpoint.clone());
        variables.push((name, value.into()));
        let mut farm = farm(variables);
        let mut one = farm.worker("one", &[]);
        let job = farm.submit(&sweep(1, 3), 1);
        farm.prove(&job);
        end(&mut farm, &mut one);
        assert_eq!(record(&farm, job.id).trace, None);
        assert!(!one.process.log().contains("trace_id"));
    }
    assert_eq!(seen.load(Ordering::Relaxed), 0, "nobody has connected");
}
