//! Memory of a GPU that several processes map, see `engine/cuda/region.h`. Whoever holds it keeps it,
//! whichever process ends first.

use std::ffi::{c_char, c_int, c_void};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use tch::{Kind, Tensor};

use super::shim::{self, Shim, number, told};

/// What names a GPU, or a part of one, to all processes: 32 hexadecimal digits.
///
/// # Errors
/// The program was built without CUDA's headers, or there is no such GPU.
#[allow(unsafe_code, reason = "calls the library")]
pub(crate) fn uuid(device: usize) -> Result<String, String> {
    let mut digits = [0u8; 33];
    // SAFETY: the library writes 33 characters.
    told(unsafe { (shim::shim()?.uuid)(number(device)?, digits.as_mut_ptr().cast::<c_char>()) })?;
    Ok(String::from_utf8_lossy(&digits[..32]).into_owned())
}

/// Mapped memory of a GPU, for tensors that hold it themselves.
pub(crate) struct Region {
    handle: *mut c_void,
    device: c_int,
    bytes: u64,
    shim: &'static Shim,
}

impl Region {
    /// New memory of at least so many bytes.
    ///
    /// # Errors
    /// As [`uuid`]; there is too little memory, or the GPU shares none.
    pub fn new(device: usize, bytes: u64) -> Result<Self, String> {
        Self::of(device, -1, bytes)
    }

    /// Memory of [`Region::bytes`] that another process made.
    ///
    /// # Errors
    /// As [`Region::new`]; the descriptor is not of such memory.
    pub fn open(device: usize, descriptor: impl AsFd, bytes: u64) -> Result<Self, String> {
        Self::of(device, descriptor.as_fd().as_raw_fd(), bytes)
    }

    fn of(device: usize, descriptor: c_int, mut bytes: u64) -> Result<Self, String> {
        let (shim, device) = (shim::shim()?, number(device)?);
        let mut handle = std::ptr::null_mut();
        #[allow(unsafe_code, reason = "calls the library")]
        // SAFETY: `bytes` and `handle` are ours to write to.
        told(unsafe { (shim.region)(device, descriptor, &raw mut bytes, &raw mut handle) })?;
        Ok(Self { handle, device, bytes, shim })
    }

    /// What there is of it: CUDA rounds up.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// By which other processes open it.
    ///
    /// # Errors
    /// CUDA's own.
    #[allow(unsafe_code, reason = "calls the library")]
    pub fn descriptor(&self) -> Result<OwnedFd, String> {
        let mut descriptor = -1;
        // SAFETY: the handle lives as long as this; the descriptor is new and ours.
        unsafe {
            told((self.shim.region_descriptor)(self.handle, &raw mut descriptor))?;
            Ok(OwnedFd::from_raw_fd(descriptor))
        }
    }

    /// A tensor of float32 or bf16 that lies in it from `offset` bytes on and holds it.
    ///
    /// # Errors
    /// It would end beyond the memory.
    #[allow(unsafe_code, reason = "calls the library")]
    pub fn tensor(
        &self,
        offset: u64,
        kind: Kind,
        [sizes, strides]: [&[i64]; 2],
    ) -> Result<Tensor, String> {
        let bf16 = c_int::from(kind == Kind::BFloat16);
        let count = number(sizes.len().min(strides.len()))?;
        let mut out = std::ptr::null_mut();
        // SAFETY: there are `count` sizes and strides; the result is a new tensor, which the
        // `Tensor` made of it owns.
        unsafe {
            let (sizes, strides) = (sizes.as_ptr(), strides.as_ptr());
            let (region, out) = (self.shim.region_tensor, &raw mut out);
            told(region(self.handle, self.device, offset, bf16, count, sizes, strides, out))?;
        }
        #[allow(unsafe_code, reason = "takes what the library made")]
        // SAFETY: as above.
        Ok(unsafe { Tensor::from_ptr(out.cast()) })
    }
}

impl Drop for Region {
    #[allow(unsafe_code, reason = "calls the library")]
    fn drop(&mut self) {
        // SAFETY: the handle is freed here alone; tensors hold the memory themselves.
        unsafe { (self.shim.region_free)(self.handle) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::on_host;

    /// Runs `region.h` in three processes, with a driver made of this machine's memory.
    #[test]
    fn memory_lives_until_the_last_process_lets_go() {
        let libtorch = std::env::var("LIBTORCH").unwrap();
        if !std::path::Path::new(&libtorch).join("cuda/include/cuda.h").exists() {
            eprintln!("skipped: CUDA's headers are not beside libtorch");
            return;
        }
        let text = on_host::run("cuda/region_test.cpp", &["-rdynamic"]);
        let nothing = "0 memories, 0 places, 0 maps, 0 too soon";
        let wanted = [
            "name: f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff".into(),
            "made: 1 memories, 1 places, 1 maps, 0 too soon".into(),
            "refused: a tensor beyond the memory that is shared".into(),
            format!("given back: {nothing}"),
            "refused: CUDA, memory to be shared: out of memory".into(),
            format!("create: {nothing}"),
            "refused: CUDA, room for shared memory: out of memory".into(),
            format!("reserve: {nothing}"),
            "refused: CUDA, shared memory: out of memory".into(),
            format!("map: {nothing}"),
            "refused: CUDA, use of shared memory: out of memory".into(),
            format!("access: {nothing}"),
            "in another process: the same".into(),
            "after the maker's end: the same".into(),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn without_a_gpu_the_answer_says_what_is_missing() {
        if super::super::cuda_devices().is_ok_and(|count| count > 0) {
            return;
        }
        for refusal in [uuid(0).err(), Region::new(0, 1).err()] {
            assert!(refusal.unwrap().contains("CUDA"));
        }
    }
}
