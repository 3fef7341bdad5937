//! A collector of OpenTelemetry spans, by both protocols, that keeps what it is sent.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as Ended;
use prost::Message;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// A span as it arrived.
#[derive(Clone, Debug)]
pub struct Span {
    /// Which program it is of.
    pub service: String,
    pub name: String,
    /// In hexadecimal, as the next two.
    pub trace: String,
    pub id: String,
    /// Empty where the trace begins.
    pub parent: String,
    pub failed: bool,
    /// The spans that it refers to.
    pub links: Vec<String>,
    pub attributes: BTreeMap<String, String>,
}

impl Span {
    /// An attribute; empty where there is none.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// A running collector.
pub struct Collector {
    http: SocketAddr,
    grpc: SocketAddr,
    received: Received,
    _runtime: Runtime,
}

#[derive(Clone, Default)]
struct Received(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    spans: Vec<Span>,
    /// All that came, whatever is made of it.
    words: String,
    headers: String,
}

impl Collector {
    pub fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let received = Received::default();
        let bind = || async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
            let address = listener.local_addr().expect("it is bound");
            (listener, address)
        };
        let (http, grpc) = runtime.block_on(async { (bind().await, bind().await) });
        let over_http = received.clone();
        let take = move |headers: HeaderMap, body: Bytes| async move {
            match ExportTraceServiceRequest::decode(body) {
                Ok(request) => {
                    over_http.take(&request, &format!("{headers:?}"));
                    StatusCode::OK
                }
                Err(_) => StatusCode::BAD_REQUEST,
            }
        };
        let router = Router::new().route("/v1/traces", post(take));
        runtime.spawn(async move { axum::serve(http.0, router).await });
        let service = TraceServiceServer::new(received.clone());
        let incoming = TcpListenerStream::new(grpc.0);
        runtime.spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        Self { http: http.1, grpc: grpc.1, received, _runtime: runtime }
    }

    /// What makes a program export to it, without delay, over HTTP.
    pub fn over_http(&self) -> Vec<(&'static str, String)> {
        variables(format!("http://{}", self.http))
    }

    /// The same over gRPC.
    pub fn over_grpc(&self) -> Vec<(&'static str, String)> {
        let mut variables = variables(format!("http://{}", self.grpc));
        variables.push(("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".into()));
        variables
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.received.lock().spans.clone()
    }

    /// All that was sent, but for its headers.
    pub fn words(&self) -> String {
        self.received.lock().words.clone()
    }

    /// The headers of all that was sent.
    pub fn headers(&self) -> String {
        self.received.lock().headers.clone()
    }
}

/// What makes a program export to this address.
pub fn variables(endpoint: String) -> Vec<(&'static str, String)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "50".into()),
        // For this machine only, whatever stands before others.
        ("NO_PROXY", "127.0.0.1".into()),
    ]
}

impl Received {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, request: &ExportTraceServiceRequest, headers: &str) {
        let mut state = self.lock();
        state.words += &format!("{request:?}\n");
        state.headers += headers;
        for of_resource in &request.resource_spans {
            let resource = of_resource.resource.clone().unwrap_or_default();
            let service = attributes(&resource.attributes).remove("service.name");
            let spans = of_resource.scope_spans.iter().flat_map(|scope| &scope.spans);
            state.spans.extend(spans.map(|span| Span {
                service: service.clone().unwrap_or_default(),
                name: span.name.clone(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                failed: span.status.as_ref().is_some_and(|status| status.code() == Ended::Error),
                links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
                attributes: attributes(&span.attributes),
            }));
        }
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let headers = format!("{:?}", request.metadata());
        self.take(request.get_ref(), &headers);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn attributes(told: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |told: &KeyValue| match told.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        Value::BoolValue(is) => Some(is.to_string()),
        _ => None,
    };
    let named = |told: &KeyValue| (told.key.clone(), text(told).unwrap_or_default());
    told.iter().map(named).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
