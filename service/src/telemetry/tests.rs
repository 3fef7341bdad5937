//! What is exported of what happens, without a collector.

use std::sync::{Arc, Mutex};

use http::{Request, Response};
use opentelemetry::trace::Status;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tower::{Layer as _, Service, service_fn};
use tracing::{info_span, trace_span};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(spans);
        Ok(())
    }
}

/// What is exported of these doings, in the order of their ends.
fn exported(doings: impl FnOnce()) -> Vec<SpanData> {
    let kept = Kept::default();
    let provider = SdkTracerProvider::builder()
        .with_sampler(Within::of_environment())
        .with_simple_exporter(Conventional::new(kept.clone(), Health::default()))
        .build();
    tracing::subscriber::with_default(Registry::default().with(layer(&provider)), doings);
    provider.shutdown().unwrap();
    kept.0.lock().unwrap().clone()
}

fn names(spans: &[SpanData]) -> Vec<&str> {
    spans.iter().map(|span| &*span.name).collect()
}

/// The spans of a call with this header that is answered with this status.
fn called(traceparent: &str, status: &'static str) -> Vec<SpanData> {
    exported(|| {
        let answer = move |_: Request<()>| async move {
            drop(trace_span!(target: TARGET, "work"));
            Response::builder().header("grpc-status", status).body(())
        };
        let mut server = ServerCalls.layer(service_fn(answer));
        let request = Request::get("/vqfarm.v1.Farm/Submit").header("traceparent", traceparent);
        let answering = server.call(request.body(()).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(answering).unwrap();
    })
}

#[test]
fn slices_are_told_within_a_task_and_not_alone() {
    let spans = exported(|| {
        drop(trace_span!(target: trace::TARGET, "heartbeat"));
        let task = info_span!(target: "vqfarm_worker::attempt", "task", job = "a");
        task.in_scope(|| {
            let publish = trace_span!(target: trace::TARGET, "publish").entered();
            drop(trace_span!(target: trace::TARGET, "encode"));
            drop(publish);
            drop(info_span!(target: "hyper", "of no concern"));
        });
    });
    assert_eq!(names(&spans), ["encode", "publish", "task"]);
    assert_eq!(spans[0].parent_span_id, spans[1].span_context.span_id());
    assert_eq!(spans[1].parent_span_id, spans[2].span_context.span_id());
}

#[test]
fn only_fields_that_are_named_are_told() {
    let spans = exported(|| {
        let span = trace_span!(target: TARGET, "render", cell = 7_u64, prompt = "a red sun");
        span.in_scope(|| tracing::info!("a red sun"));
        note(&span, "worker", "17");
        fail(&span);
    });
    let told = |of: &KeyValue| (of.key.to_string(), format!("{:?}", of.value));
    let told: Vec<_> = spans[0].attributes.iter().map(told).collect();
    let cell = ("vqfarm.cell".to_owned(), "I64(7)".to_owned());
    let worker = ("vqfarm.worker".to_owned(), "String(Static(\"17\"))".to_owned());
    assert_eq!(told, [cell, worker]);
    assert!(!format!("{spans:?}").contains("red sun"), "{spans:?}");
}

#[test]
fn what_is_done_together_is_in_one_trace_and_the_others_refer_to_it() {
    let spans = exported(|| {
        let [one, two] =
            ["one", "two"].map(|name| trace_span!(target: TARGET, "render", otel.name = name));
        let batch = trace_span!(target: trace::TARGET, parent: None, "batch");
        join(&batch, &[one, two]);
        drop(trace_span!(target: trace::TARGET, parent: &batch, "compute"));
    });
    let named = |name: &str| spans.iter().find(|span| span.name == name).expect(name);
    let [one, two, batch] = ["one", "two", "batch"].map(named);
    assert_ne!(one.span_context.trace_id(), two.span_context.trace_id());
    assert_eq!(batch.parent_span_id, one.span_context.span_id());
    assert_eq!(named("compute").parent_span_id, batch.span_context.span_id());
    let links =
        |span: &SpanData| span.links.iter().map(|l| l.span_context.span_id()).collect::<Vec<_>>();
    assert_eq!((links(one), links(two)), (vec![], vec![batch.span_context.span_id()]));
}

#[test]
fn a_call_goes_on_with_its_callers_trace() {
    let spans = called("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "7");
    assert_eq!(names(&spans), ["work", "vqfarm.v1.Farm/Submit"]);
    let (work, call) = (&spans[0], &spans[1]);
    assert_eq!(work.parent_span_id, call.span_context.span_id());
    assert_eq!(call.parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(call.span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    let code = KeyValue::new("rpc.grpc.status_code", 7);
    assert!(call.attributes.contains(&code), "{:?}", call.attributes);
    assert!(matches!(call.status, Status::Error { .. }), "{:?}", call.status);
}

#[test]
fn a_trace_that_is_not_sampled_is_not_told() {
    let spans = called("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "0");
    assert_eq!(names(&spans), [""; 0]);
}

#[test]
fn what_is_no_traceparent_is_ignored() {
    for header in [
        "",
        "garbage",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c",
    ] {
        let spans = called(header, "0");
        let call = spans.last().expect("the call is traced all the same");
        assert_eq!(call.parent_span_id, opentelemetry::SpanId::INVALID, "{header:?}");
    }
}
