//! How much memory devices have.

use std::fs;

use anyhow::{Context, Result};
use tch::Device;

/// Bytes of the smallest of these devices; of this machine, or the part of it that the process
/// may use, for the CPU.
///
/// # Errors
/// The system does not say.
pub fn of_all(devices: &[Device]) -> Result<u64> {
    let each = devices.iter().map(|device| match device {
        Device::Cuda(index) => Ok(vqfarm_engine::device::cuda_memory(*index)?),
        _ => machine(),
    });
    let each: Vec<u64> = each.collect::<Result<_>>()?;
    each.into_iter().min().context("no device")
}

/// Bytes that nobody uses on a device, of those that the process may use.
///
/// # Errors
/// The system does not say.
pub fn free(device: Device) -> Result<u64> {
    if let Device::Cuda(index) = device {
        return Ok(vqfarm_engine::device::cuda_free_memory(index)?);
    }
    let left = match (control_group("memory.max"), control_group("memory.current")) {
        (Some(limit), Some(used)) => limit.saturating_sub(used),
        _ => u64::MAX,
    };
    Ok(of_file("/proc/meminfo", "MemAvailable:")?.min(left))
}

/// Bytes that this process took at the worst moment so far. On a GPU those that libtorch held, or
/// where it does not say so, what all programs hold now.
///
/// # Errors
/// The system does not say.
pub fn peak(device: Device) -> Result<u64> {
    match device {
        Device::Cuda(index) => {
            if let Ok(memory) = vqfarm_engine::device::gpu_memory(index) {
                return Ok(memory.reserved_peak);
            }
            let all = vqfarm_engine::device::cuda_memory(index)?;
            Ok(all.saturating_sub(vqfarm_engine::device::cuda_free_memory(index)?))
        }
        _ => of_file("/proc/self/status", "VmHWM:"),
    }
}

/// What the machine has, or less where a control group allows less.
fn machine() -> Result<u64> {
    let limit = control_group("memory.max").unwrap_or(u64::MAX);
    Ok(of_file("/proc/meminfo", "MemTotal:")?.min(limit))
}

/// A number of bytes in one of the kernel's files.
fn of_file(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{path} does not say {name}"))? << 10)
}

/// None without a limit.
fn control_group(file: &str) -> Option<u64> {
    fs::read_to_string(format!("/sys/fs/cgroup/{file}")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_some() {
        let all = of_all(&[Device::Cpu]).unwrap();
        assert!(all > 64 << 20);
        let (free, peak) = (free(Device::Cpu).unwrap(), peak(Device::Cpu).unwrap());
        assert!(0 < free && free <= all && 0 < peak && peak < all, "{free} {peak} of {all}");
    }
}
