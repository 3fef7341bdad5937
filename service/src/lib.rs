//! What the farm's programs share: settings in layers, logs, a metrics endpoint, traces, an orderly
//! end.

pub mod logging;
pub mod metrics;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod trace;
