//! Prometheus metrics of a process, over HTTP.

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
