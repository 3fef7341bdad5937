//! Prometheus metrics of a process, over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder};
use metrics_util::MetricKindMask;
use tokio::task::JoinHandle;

/// Where metrics are served. Flatten it into a parser.
#[derive(Clone, Debug, Default, Args)]
pub struct MetricsArgs {
    /// Serve Prometheus metrics over HTTP here, as in 127.0.0.1:9464
    #[arg(long, value_name = "ADDR", env = "VQFARM_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,
}

/// Upper bounds of the histograms' buckets, in seconds.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

/// A gauge that nobody has set for this long disappears: its job or worker is gone.
const STALE: Duration = Duration::from_secs(300);

/// A metric that a program tells.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// What it says, in a line.
    pub help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Metric {
    pub const fn new(
        name: &'static str,
        kind: Kind,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind, labels, help }
    }

    /// As Prometheus's conventions have it in the name; a number of things where they have none.
    pub fn unit(&self) -> &'static str {
        let name = self.name.trim_end_matches("_total");
        ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit)).unwrap_or("")
    }

    /// As a row of a table in Markdown.
    pub fn row(&self) -> [String; 5] {
        let code = |text: &&str| format!("`{text}`");
        let labels: Vec<String> = self.labels.iter().map(code).collect();
        let [kind, unit, help] = [self.kind.word(), self.unit(), self.help].map(str::to_owned);
        [code(&self.name), kind, labels.join(", "), unit, help]
    }
}

/// The heading of [`Metric::row`].
pub const COLUMNS: [&str; 5] = ["metric", "type", "labels", "unit", "what it says"];

/// Tells those who read the metrics what each one says.
pub fn describe(told: &[Metric]) {
    for Metric { name, kind, help, .. } in told {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *help),
            Kind::Gauge => metrics::describe_gauge!(*name, *help),
            Kind::Histogram => metrics::describe_histogram!(*name, *help),
        }
    }
}

/// The labels of each metric, by its name.
pub fn labels_of(told: &[Metric]) -> BTreeMap<String, BTreeSet<String>> {
    let labels = |metric: &Metric| metric.labels.iter().map(|&label| label.to_owned()).collect();
    told.iter().map(|metric| (metric.name.to_owned(), labels(metric))).collect()
}

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error("metrics-listen: cannot listen on {addr}: {reason}")]
    Listen { addr: SocketAddr, reason: BuildError },
    #[error("metrics: {0}")]
    Build(#[from] BuildError),
}

/// Starts to serve metrics if an address is given; they are kept from now on. Must be called
/// inside a tokio runtime; the endpoint ends with the returned task.
///
/// # Errors
/// The address cannot be listened on, or the process keeps metrics already.
pub fn serve(args: &MetricsArgs) -> Result<Option<JoinHandle<()>>, MetricsError> {
    let Some(addr) = args.metrics_listen else { return Ok(None) };
    let builder = PrometheusBuilder::new()
        .set_buckets(&SECONDS)?
        .idle_timeout(MetricKindMask::GAUGE, Some(STALE))
        .with_http_listener(addr);
    let (recorder, endpoint) =
        builder.build().map_err(|reason| MetricsError::Listen { addr, reason })?;
    let kept = metrics::set_global_recorder(recorder);
    kept.map_err(BuildError::from)?;
    tracing::info!(%addr, "serving metrics");
    Ok(Some(tokio::spawn(async move {
        if let Err(error) = endpoint.await {
            tracing::error!(?error, "the metrics endpoint has died");
        }
    })))
}
