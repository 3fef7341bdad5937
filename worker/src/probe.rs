//! `vqfarm-worker probe`: what this machine can compute with.

use std::num::NonZero;
use std::thread;

use anyhow::{Context, Result, ensure};
use tch::{Device, Kind, Tensor};
use vqfarm_core::probe::{Gpu, Probe};
use vqfarm_engine::device;

use crate::{memory, stitch};

/// Looks at the machine, and computes a little to see that libtorch does.
///
/// # Errors
/// libtorch does not compute, or the system does not say how much memory there is.
pub async fn probe() -> Result<Probe> {
    let sum = Tensor::ones([2, 2], (Kind::Float, Device::Cpu)).f_sum(Kind::Float);
    let sum = sum.context("libtorch does not compute")?.double_value(&[]);
    ensure!(sum == 4.0, "libtorch computes wrongly: 1 + 1 + 1 + 1 = {sum}");
    let (count, cuda) = match device::cuda_devices() {
        Ok(count) => (count, None),
        Err(reason) => (0, Some(reason)),
    };
    let gpus = (0..usize::try_from(count).unwrap_or(0))
        .map(|index| {
            let memory = device::cuda_memory(index)?;
            Ok(Gpu { device: format!("cuda:{index}"), memory })
        })
        .collect::<Result<_>>()?;
    Ok(Probe {
        version: env!("CARGO_PKG_VERSION").into(),
        cores: thread::available_parallelism().map_or(1, NonZero::get) as u64,
        memory: memory::of_all(&[Device::Cpu])?,
        gpus,
        cuda,
        ffmpeg: stitch::film::has_ffmpeg().await,
    })
}
