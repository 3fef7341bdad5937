//! How fast a device multiplies matrices: what its networks are compared with.

use std::time::{Duration, Instant};

use anyhow::Result;
use tch::{Device, Kind, Tensor};

/// Long enough that a clock's grain and a cold start do not count.
const LONG: Duration = Duration::from_millis(400);
const TRIES: u32 = 3;

/// Operations a second of a large product of matrices, the best of a few tries.
///
/// # Errors
/// libtorch fails.
pub fn matrices(device: Device, kind: Kind) -> Result<f64> {
    let side: i64 = if device.is_cuda() { 8192 } else { 2048 };
    let random = || -> Result<Tensor> {
        Ok(Tensor::f_randn([side, side], (Kind::Float, device))?.to_kind(kind))
    };
    let (a, b) = (random()?, random()?);
    let product = || -> Result<()> {
        let _ = a.f_matmul(&b)?;
        Ok(())
    };
    product()?;
    synchronise(device);
    let mut best: f64 = 0.0;
    for _ in 0..TRIES {
        let (begin, mut products) = (Instant::now(), 0_u32);
        while begin.elapsed() < LONG {
            product()?;
            // A GPU is only told what to do; without this its queue would grow.
            synchronise(device);
            products += 1;
        }
        let operations = 2.0 * (side as f64).powi(3) * f64::from(products);
        best = best.max(operations / begin.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Waits until a device has done what it was told.
pub fn synchronise(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}
