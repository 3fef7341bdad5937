//! Measurements as people read them.

use std::fmt::Write;

use vqfarm_core::render::Precision;

use super::measure::{Outcome, Report};

pub const HEADER: &str = "precision   size batch    it/s  images/h   memory  estimate  \
                          matrix TFLOP/s   used  way";

const GIB: f64 = (1_u64 << 30) as f64;

/// One line.
pub fn row(outcome: &Outcome) -> String {
    match outcome {
        Outcome::OutOfMemory { subject, .. } => format!(
            "{:<9} {:>6} {:>5}  out of memory",
            word(subject.precision),
            subject.size,
            subject.batch
        ),
        Outcome::Measured(report) => format!(
            "{:<9} {:>6} {:>5} {:>7.3} {:>9.1} {:>7.2}G {:>8.2}G {:>15.3} {:>5.1}%  {}",
            word(report.subject.precision),
            report.subject.size,
            report.subject.batch,
            report.iterations_per_second,
            report.images_per_hour,
            report.peak_memory as f64 / GIB,
            report.estimated_memory as f64 / GIB,
            report.matrix_flops_per_second / 1e12,
            100.0 * report.utilisation,
            report.thrift
        ),
    }
}

/// Where the time goes.
pub fn details(outcome: &Outcome) -> Option<String> {
    let Outcome::Measured(report) = outcome else { return None };
    let Report { subject, device, threads, seconds, stages, .. } = &**report;
    let on = if device == "cpu" { format!("cpu, {threads} threads") } else { device.clone() };
    let mut lines = format!(
        "\n{} of {}² in {} ({on}): {seconds:.3} s an iteration",
        subject.batch,
        subject.size,
        word(subject.precision)
    );
    for (stage, took) in stages {
        // Writing to a string cannot fail.
        let _ = write!(lines, "\n  {stage:<18} {took:8.3} s  {:5.1} %", 100.0 * took / seconds);
    }
    Some(lines)
}

fn word(precision: Precision) -> &'static str {
    match precision {
        Precision::Float32 => "float32",
        Precision::Tf32 => "tf32",
        Precision::Bf16 => "bf16",
    }
}
