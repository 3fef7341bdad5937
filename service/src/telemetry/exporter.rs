//! Where spans go, as the standard variables say, and the way there.

use std::env;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig, WithTonicConfig};
use tokio::runtime::{Builder, Runtime};
use ureq::Agent;

/// How long a delivery takes at most, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer of a collector that is read.
const ANSWER: u64 = 64 << 10;

/// A collector to export to. The crate that speaks to it reads the variables itself, too; here are
/// those that decide how.
pub struct Endpoint {
    address: String,
    protocol: Option<String>,
}

/// Why a collector cannot be exported to, whoever listens there.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT: it must be a URL, as in http://127.0.0.1:4318")]
    Address,
    #[error("OTEL_EXPORTER_OTLP_PROTOCOL: `{0}` is not known here; give http/protobuf or grpc")]
    Protocol(String),
    #[error("OTEL_EXPORTER_OTLP_*: {0}")]
    Settings(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("the system gives no thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// One of the variables, unless it is empty.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// What is said of traces alone goes before what is said of all signals.
fn setting(name: &str) -> Option<String> {
    let of_traces = variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
    of_traces.or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
}

impl Endpoint {
    /// None where nobody asks for traces.
    pub fn of_environment() -> Option<Self> {
        let says =
            |name, value: &str| variable(name).is_some_and(|v| v.eq_ignore_ascii_case(value));
        if says("OTEL_SDK_DISABLED", "true") || says("OTEL_TRACES_EXPORTER", "none") {
            return None;
        }
        Some(Self { address: setting("ENDPOINT")?, protocol: setting("PROTOCOL") })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Nothing is connected to before there are spans. A connection that needs a runtime has the
    /// one that comes along.
    ///
    /// # Errors
    /// The variables make no sense.
    pub fn open(&self) -> Result<(SpanExporter, Option<Runtime>), Unusable> {
        let secure = self.address.starts_with("https://");
        if !secure && !self.address.starts_with("http://") {
            return Err(Unusable::Address);
        }
        match self.protocol.as_deref() {
            None | Some("http/protobuf") => {
                let exporter = SpanExporter::builder().with_http().with_http_client(Http::new());
                Ok((exporter.build()?, None))
            }
            Some("grpc") => {
                let runtime = Builder::new_multi_thread()
                    .worker_threads(1)
                    .thread_name("otlp")
                    .enable_all()
                    .build()?;
                let inside = runtime.enter();
                let exporter = SpanExporter::builder().with_tonic();
                let exporter = match secure {
                    true => exporter.with_tls_config(ClientTlsConfig::new().with_webpki_roots()),
                    false => exporter,
                };
                let exporter = exporter.build()?;
                drop(inside);
                Ok((exporter, Some(runtime)))
            }
            Some(other) => Err(Unusable::Protocol(other.to_owned())),
        }
    }
}

/// HTTP as the exporter's own thread speaks it, which has nothing else to do and may block.
#[derive(Debug)]
struct Http(Agent);

impl Http {
    fn new() -> Self {
        let asked = setting("TIMEOUT").and_then(|milliseconds| milliseconds.parse().ok());
        let timeout = asked.map_or(TIMEOUT, Duration::from_millis);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(timeout))
            .user_agent(concat!("vqfarm/", env!("CARGO_PKG_VERSION")));
        Self(config.build().into())
    }
}

#[async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let answer = self.0.run(Request::from_parts(parts, &body[..]))?;
        let (parts, mut body) = answer.into_parts();
        let body = body.with_config().limit(ANSWER).read_to_vec()?;
        Ok(Response::from_parts(parts, body.into()))
    }
}
