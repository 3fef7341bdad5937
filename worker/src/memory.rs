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

/// What the machine has, or less where a control group allows less.
fn machine() -> Result<u64> {
    let info = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let kib = info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .context("/proc/meminfo does not say MemTotal")?;
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|limit| limit.trim().parse().ok()).unwrap_or(u64::MAX);
    Ok((kib << 10).min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_some() {
        assert!(of_all(&[Device::Cpu]).unwrap() > 64 << 20);
    }
}
