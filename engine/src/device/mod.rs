//! Which device computes, in which arithmetic, and with how many threads.

mod cuda;
mod memory;
#[cfg(test)]
pub(crate) mod on_host;
mod region;
mod shim;

use tch::{Cuda, Device, Kind};
use vqfarm_core::render::Precision;

use crate::error::{EngineError, Result};
pub use memory::keep_memory;
pub(crate) use region::{Region, uuid};
pub use shim::{GpuMemory, empty_cache, gpu_memory, is_built_in, reset_peak, synchronize};
pub(crate) use shim::{Graph, Lanes, draws, each, norm_swish};

/// The device of a name: `cpu`, `cuda`, `cuda:1`, or `auto` for the first GPU if there is one.
///
/// # Errors
/// There is no such device, or its libraries cannot be loaded; the message says what to do.
pub fn choose(name: &str) -> Result<Device> {
    let refuse = |reason: String| Err(EngineError::Device { asked: name.to_owned(), reason });
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "auto" => {
            return Ok(if cuda_devices().is_ok_and(|n| n > 0) {
                Device::Cuda(0)
            } else {
                Device::Cpu
            });
        }
        "cuda" => 0,
        _ => match name.strip_prefix("cuda:").and_then(|n| n.parse::<usize>().ok()) {
            Some(index) => index,
            None => return refuse("choose auto, cpu, cuda or cuda:0, cuda:1, …".into()),
        },
    };
    match cuda_devices() {
        Ok(count) if (index as i64) < count => Ok(Device::Cuda(index)),
        Ok(0) => refuse("no GPU answers; see what `nvidia-smi` says, or choose cpu".into()),
        Ok(count) => refuse(format!("this machine has {count}, numbered from 0")),
        Err(reason) => refuse(reason),
    }
}

/// What a device is called, as [`choose`] takes it.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".into(),
    }
}

/// How many CUDA devices this machine has. Loads the CUDA kernels on the first call.
///
/// # Errors
/// The CUDA libraries are there but cannot be loaded, or are not there.
pub fn cuda_devices() -> Result<i64, String> {
    cuda::register()?;
    Ok(Cuda::device_count())
}

/// Bytes of a GPU's memory.
///
/// # Errors
/// There is no such GPU, or its libraries cannot be loaded.
pub fn cuda_memory(index: usize) -> Result<u64> {
    Ok(free_and_all(index)?.1)
}

/// Bytes of a GPU's memory that no process uses; what libtorch keeps for its next tensors is in
/// use.
///
/// # Errors
/// As [`cuda_memory`].
pub fn cuda_free_memory(index: usize) -> Result<u64> {
    Ok(free_and_all(index)?.0)
}

/// Gives back what libtorch keeps of a device's memory for its next tensors: after a computation
/// failed for want of memory, pieces of the wrong sizes are in the way of the next one.
pub fn release_memory(device: Device) {
    match device {
        Device::Cuda(_) => {
            // Without the library it stays with the allocator, which uses it again itself.
            let _ = empty_cache();
        }
        _ => memory::trim(),
    }
}

fn free_and_all(index: usize) -> Result<(u64, u64)> {
    let asked = || cuda::register().and_then(|()| cuda::memory(index));
    asked().map_err(|reason| EngineError::Device { asked: format!("cuda:{index}"), reason })
}

/// Sets a device's arithmetic and returns the kind that networks are loaded in, with a
/// warning when the device cannot do as it is asked.
///
/// `float32` means full float32: TF32, which libtorch would use in convolutions, is switched
/// off on CUDA. A CPU knows no TF32, and bf16 if it has instructions for it (AVX-512 BF16);
/// what it does not know it computes in float32.
///
/// # Errors
/// The CUDA libraries are of another version.
pub fn set_precision(device: Device, precision: Precision) -> Result<(Kind, Option<String>)> {
    let kind = kind(device, precision);
    if device.is_cuda() {
        cuda::allow_tf32(precision != Precision::Float32)
            .map_err(|reason| EngineError::Device { asked: format!("{device:?}"), reason })?;
        return Ok((kind, None));
    }
    let as_asked = precision == Precision::Float32 || kind == Kind::BFloat16;
    let warning = "precision: this CPU computes in float32, which is slower but no worse";
    Ok((kind, (!as_asked).then(|| warning.into())))
}

/// The kind that networks are loaded in on a device that is to compute with `precision`.
pub fn kind(device: Device, precision: Precision) -> Kind {
    let knows_bf16 = device.is_cuda() || has_bf16();
    if precision == Precision::Bf16 && knows_bf16 { Kind::BFloat16 } else { Kind::Float }
}

/// Whether this CPU multiplies bf16 numbers; emulated they would be slower than float32.
fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Pictures up to this many pixels are computed by one thread each.
const SMALL: u64 = 160 * 160;

/// Threads that compute one picture of so many pixels on a CPU.
///
/// Float sums depend on how they are split among threads: libtorch's 1×1 convolutions, SiLU
/// and GroupNorm round differently with one thread, two or three. So the number follows from
/// the picture alone, never from the machine or its load; cores beyond it are used by
/// rendering several pictures at a time, see [`pictures_at_once`].
pub fn threads(pixels: u64) -> i32 {
    if pixels <= SMALL { 1 } else { 2 }
}

/// How many pictures of so many pixels keep `cores` cores busy, each on a thread of its own
/// with models of its own ([`crate::models::ModelWeights::share`]).
pub fn pictures_at_once(pixels: u64, cores: usize) -> usize {
    (cores / threads(pixels) as usize).max(1)
}

/// Makes the calling thread compute as [`threads`] says.
pub(crate) fn set_threads(device: Device, pixels: u64) {
    let wanted = threads(pixels);
    if !device.is_cuda() && tch::get_num_threads() != wanted {
        tch::set_num_threads(wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_devices_are_refused_with_the_choice() {
        for name in ["gpu", "cuda:", "cuda:x", "cuda:-1", ""] {
            let message = choose(name).unwrap_err().to_string();
            assert!(message.contains("auto, cpu, cuda"), "{message}");
        }
        assert_eq!(choose("cpu").unwrap(), Device::Cpu);
        assert!(choose("cuda:4000").is_err());
        assert!(choose("auto").is_ok());
    }

    #[test]
    fn a_cpu_warns_of_what_it_does_not_know() {
        let (kind, warning) = set_precision(Device::Cpu, Precision::Tf32).unwrap();
        assert_eq!(kind, Kind::Float);
        assert!(warning.unwrap().starts_with("precision"));
        assert_eq!(set_precision(Device::Cpu, Precision::Float32).unwrap(), (Kind::Float, None));
        let (kind, warning) = set_precision(Device::Cpu, Precision::Bf16).unwrap();
        assert_eq!(kind == Kind::BFloat16, warning.is_none());
    }
}
