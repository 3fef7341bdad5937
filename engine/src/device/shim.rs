//! What tch does not wrap of libtorch's CUDA side, through the small library of
//! `engine/cuda/shim.cpp`: graphs, streams, the allocator's figures, programs of our own, memory that
//! processes share ([`super::region`]). The library travels within the program and is opened once
//! libtorch's CUDA library is loaded, whose symbols it needs.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use rustix::fs::{MemfdFlags, memfd_create};
use tch::Tensor;

/// Empty where the build found no CUDA headers.
static LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shim.so"));

/// Null, or what failed.
pub(super) type Answer = *const c_char;

/// The library's functions, as their C declarations say.
pub(super) struct Shim {
    graph_begin: unsafe extern "C" fn(c_int, *mut *mut c_void) -> Answer,
    graph_end: unsafe extern "C" fn(*mut c_void) -> Answer,
    graph_replay: unsafe extern "C" fn(*mut c_void) -> Answer,
    graph_free: unsafe extern "C" fn(*mut c_void),
    lanes_fork: unsafe extern "C" fn(c_int, c_int, *mut *mut c_void) -> Answer,
    lanes_take: unsafe extern "C" fn(*mut c_void, c_int) -> Answer,
    lanes_join: unsafe extern "C" fn(*mut c_void) -> Answer,
    memory: unsafe extern "C" fn(c_int, *mut u64) -> Answer,
    memory_reset_peak: unsafe extern "C" fn(c_int) -> Answer,
    memory_empty_cache: unsafe extern "C" fn() -> Answer,
    synchronize: unsafe extern "C" fn(c_int) -> Answer,
    each: Each,
    norm_swish: NormSwish,
    draws: Draws,
    pub(super) uuid: unsafe extern "C" fn(c_int, *mut c_char) -> Answer,
    pub(super) region: unsafe extern "C" fn(c_int, c_int, *mut u64, *mut *mut c_void) -> Answer,
    pub(super) region_descriptor: unsafe extern "C" fn(*mut c_void, *mut c_int) -> Answer,
    pub(super) region_tensor: RegionTensor,
    pub(super) region_free: unsafe extern "C" fn(*mut c_void),
}

type RegionTensor = unsafe extern "C" fn(
    *mut c_void,
    c_int,
    u64,
    c_int,
    c_int,
    *const i64,
    *const i64,
    *mut *mut c_void,
) -> Answer;

type Draws = unsafe extern "C" fn(
    *const c_char,
    *mut c_void,
    u32,
    *mut c_void,
    *mut c_void,
    u32,
    f64,
) -> Answer;

type NormSwish = unsafe extern "C" fn(
    *const c_char,
    *mut c_void,
    *mut c_void,
    *mut c_void,
    f64,
    *mut *mut c_void,
) -> Answer;

type Each = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    c_int,
    *const *mut c_void,
    *mut *mut c_void,
) -> Answer;

/// Whether this program was built with the library.
pub fn is_built_in() -> bool {
    !LIBRARY.is_empty()
}

/// The library, opened at the first call; later ones repeat its answer.
pub(super) fn shim() -> Result<&'static Shim, String> {
    static OPENED: OnceLock<Result<Shim, String>> = OnceLock::new();
    OPENED.get_or_init(open).as_ref().map_err(Clone::clone)
}

#[allow(unsafe_code, reason = "opening a library and naming its functions' types")]
fn open() -> Result<Shim, String> {
    if !is_built_in() {
        return Err(
            "this program was built without CUDA graphs; build it where CUDA's headers are \
                    (`make setup` fetches them)"
                .into(),
        );
    }
    super::cuda::register()?;
    let failed = |what: &dyn std::fmt::Display| format!("the CUDA shim cannot be opened: {what}");
    let file = in_memory(LIBRARY).map_err(|error| failed(&error))?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: the library is our own, its constructors are those of the C++ library, and every
    // type below is the declaration in `shim.cpp`. It is never unloaded.
    unsafe {
        let library =
            Library::open(Some(path), RTLD_NOW | RTLD_LOCAL).map_err(|error| failed(&error))?;
        macro_rules! function {
            ($name:literal) => {
                *library.get(concat!("vqfarm_", $name).as_bytes()).map_err(|e| failed(&e))?
            };
        }
        let shim = Shim {
            graph_begin: function!("graph_begin"),
            graph_end: function!("graph_end"),
            graph_replay: function!("graph_replay"),
            graph_free: function!("graph_free"),
            lanes_fork: function!("lanes_fork"),
            lanes_take: function!("lanes_take"),
            lanes_join: function!("lanes_join"),
            memory: function!("memory"),
            memory_reset_peak: function!("memory_reset_peak"),
            memory_empty_cache: function!("memory_empty_cache"),
            synchronize: function!("synchronize"),
            each: function!("each"),
            norm_swish: function!("norm_swish"),
            draws: function!("draws"),
            uuid: function!("uuid"),
            region: function!("region"),
            region_descriptor: function!("region_descriptor"),
            region_tensor: function!("region_tensor"),
            region_free: function!("region_free"),
        };
        std::mem::forget(library);
        Ok(shim)
    }
}

/// A file that lies nowhere.
fn in_memory(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    let mut file = std::fs::File::from(memfd_create("vqfarm-cuda", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file.into())
}

#[allow(unsafe_code, reason = "reads the library's message")]
pub(super) fn told(answer: Answer) -> Result<(), String> {
    if answer.is_null() {
        return Ok(());
    }
    // SAFETY: the library answers null or a C string that lives until this thread's next call.
    Err(unsafe { CStr::from_ptr(answer) }.to_string_lossy().into_owned())
}

pub(super) fn number(device: usize) -> Result<c_int, String> {
    c_int::try_from(device).map_err(|error| error.to_string())
}

/// Work that was captured once and can be done again at the cost of one launch. Its tensors keep
/// their places in memory, which it holds. Belongs to the thread that captured it.
pub(crate) struct Graph {
    handle: *mut c_void,
    shim: &'static Shim,
}

impl Graph {
    /// Captures what `work` gives to a CUDA device; nothing is computed yet. Within `work` the
    /// host must not wait for the device, nor copy to or from it.
    ///
    /// # Errors
    /// `work` fails or does what cannot be captured. Nothing is captured then.
    pub fn capture<E: From<String>>(
        device: usize,
        work: impl FnOnce() -> Result<(), E>,
    ) -> Result<Self, E> {
        let shim = shim()?;
        let mut handle = std::ptr::null_mut();
        let begun = number(device).and_then(|device| {
            #[allow(unsafe_code, reason = "calls the library")]
            // SAFETY: `handle` is ours to write to.
            told(unsafe { (shim.graph_begin)(device, &raw mut handle) })
        });
        begun?;
        let graph = Self { handle, shim };
        let done = work();
        #[allow(unsafe_code, reason = "calls the library")]
        // SAFETY: the handle is the one that `graph_begin` made, still capturing.
        let ended = told(unsafe { (shim.graph_end)(graph.handle) });
        done?;
        ended?;
        Ok(graph)
    }

    /// Starts the captured work once more.
    ///
    /// # Errors
    /// CUDA's own.
    #[allow(unsafe_code, reason = "calls the library")]
    pub fn replay(&self) -> Result<(), String> {
        // SAFETY: the handle holds a finished capture, as `capture` returns no other.
        told(unsafe { (self.shim.graph_replay)(self.handle) })
    }
}

impl Drop for Graph {
    #[allow(unsafe_code, reason = "calls the library")]
    fn drop(&mut self) {
        // SAFETY: the handle is freed here alone.
        unsafe { (self.shim.graph_free)(self.handle) };
    }
}

/// Streams of a CUDA device beside the one that this thread uses, forked from it until they are
/// dropped, which joins them.
pub(crate) struct Lanes {
    handle: *mut c_void,
    shim: &'static Shim,
}

impl Lanes {
    /// # Errors
    /// CUDA's own.
    #[allow(unsafe_code, reason = "calls the library")]
    pub fn fork(device: usize, count: usize) -> Result<Self, String> {
        let shim = shim()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: `handle` is ours to write to.
        told(unsafe { (shim.lanes_fork)(number(device)?, number(count)?, &raw mut handle) })?;
        Ok(Self { handle, shim })
    }

    /// Gives what this thread does from now on to one of them.
    ///
    /// # Errors
    /// There is no such one.
    #[allow(unsafe_code, reason = "calls the library")]
    pub fn take(&self, lane: usize) -> Result<(), String> {
        // SAFETY: the handle is the one that `lanes_fork` made and lives until it is dropped.
        told(unsafe { (self.shim.lanes_take)(self.handle, number(lane)?) })
    }
}

impl Drop for Lanes {
    #[allow(unsafe_code, reason = "calls the library")]
    fn drop(&mut self) {
        // SAFETY: the handle is freed here alone.
        // A stream that failed fails the computation that follows, where it is told.
        let _ = told(unsafe { (self.shim.lanes_join)(self.handle) });
    }
}

/// What a GPU's memory is used for, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuMemory {
    /// That tensors hold.
    pub allocated: u64,
    /// The most that they held since [`reset_peak`].
    pub allocated_peak: u64,
    /// That libtorch holds, unused memory included.
    pub reserved: u64,
    /// The most that it held since [`reset_peak`].
    pub reserved_peak: u64,
}

/// What the memory of a GPU is used for by this process.
///
/// # Errors
/// The program was built without CUDA's headers, or there is no such GPU.
#[allow(unsafe_code, reason = "calls the library")]
pub fn gpu_memory(device: usize) -> Result<GpuMemory, String> {
    let mut bytes = [0; 4];
    // SAFETY: the library writes four numbers.
    told(unsafe { (shim()?.memory)(number(device)?, bytes.as_mut_ptr()) })?;
    let [allocated, allocated_peak, reserved, reserved_peak] = bytes;
    Ok(GpuMemory { allocated, allocated_peak, reserved, reserved_peak })
}

/// Counts the peaks of [`gpu_memory`] from now on.
///
/// # Errors
/// As [`gpu_memory`].
#[allow(unsafe_code, reason = "calls the library")]
pub fn reset_peak(device: usize) -> Result<(), String> {
    // SAFETY: a plain call.
    told(unsafe { (shim()?.memory_reset_peak)(number(device)?) })
}

/// Gives the unused memory of all GPUs back to the driver.
///
/// # Errors
/// As [`gpu_memory`].
#[allow(unsafe_code, reason = "calls the library")]
pub fn empty_cache() -> Result<(), String> {
    // SAFETY: a plain call.
    told(unsafe { (shim()?.memory_empty_cache)() })
}

/// Waits until a GPU has done all that it was given.
///
/// # Errors
/// As [`gpu_memory`], and what failed on the device.
#[allow(unsafe_code, reason = "calls the library")]
pub fn synchronize(device: usize) -> Result<(), String> {
    // SAFETY: a plain call.
    told(unsafe { (shim()?.synchronize)(number(device)?) })
}

/// Runs `name`, a C++ function template in `code` of one value of each input, on every element of
/// tensors of one kind on a CUDA device, broadcast. Compiled at the first call with that kind.
///
/// # Errors
/// As [`gpu_memory`], the code does not compile, or the compiler is not there.
#[allow(unsafe_code, reason = "calls the library")]
pub(crate) fn each(code: &CStr, name: &CStr, inputs: &[&Tensor]) -> Result<Tensor, String> {
    let shim = shim()?;
    let pointers: Vec<*mut c_void> = inputs.iter().map(|t| t.as_ptr().cast_mut().cast()).collect();
    let mut out = std::ptr::null_mut();
    let count = number(pointers.len())?;
    // SAFETY: the pointers are tensors that live until the call returns; the result is a new one,
    // which the `Tensor` made of it owns.
    unsafe {
        told((shim.each)(code.as_ptr(), name.as_ptr(), count, pointers.as_ptr(), &raw mut out))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

/// The kernels of [`norm_swish`].
const NORM: &CStr = match CStr::from_bytes_with_nul(
    concat!(include_str!("../../cuda/norm.cuh"), "\0").as_bytes(),
) {
    Ok(code) => code,
    Err(_) => c"",
};

/// Swish of the normalisation of 32 groups of channels, in one operation on a CUDA device that can
/// be differentiated once in `x`, [B, C, H, W] in float32 or bf16, C 128, 256, 512 or 1,024. Scale
/// and shift are float32, [C]. The result lies by pixels. Compiled at the first call.
///
/// # Errors
/// As [`gpu_memory`], the kernels do not compile, or the compiler is not there.
#[allow(unsafe_code, reason = "calls the library")]
pub(crate) fn norm_swish(
    x: &Tensor,
    [scale, shift]: [&Tensor; 2],
    epsilon: f64,
) -> Result<Tensor, String> {
    let shim = shim()?;
    let [x, scale, shift] = [x, scale, shift].map(|t| t.as_ptr().cast_mut().cast());
    let mut out = std::ptr::null_mut();
    // SAFETY: as in `each`.
    unsafe {
        told((shim.norm_swish)(NORM.as_ptr(), x, scale, shift, epsilon, &raw mut out))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

/// The kernel of [`draws`].
const DRAWS: &CStr =
    match CStr::from_bytes_with_nul(concat!(include_str!("../../cuda/draws.cuh"), "\0").as_bytes())
    {
        Ok(code) => code,
        Err(_) => c"",
    };

/// Fills a table on a CUDA device, float64 [iterations, numbers], whose rows may lie apart, with what
/// is drawn in the iterations from `first` on, for `count` cutouts of `size` pixels of each image. The
/// list, [steps, 16], and the images, [images, 3], are as `cuda/draws.cuh` has them, float64 on the
/// same device. Compiled at the first call.
///
/// # Errors
/// As [`gpu_memory`], the kernel does not compile, or the compiler is not there.
#[allow(unsafe_code, reason = "calls the library")]
pub(crate) fn draws(
    table: &Tensor,
    first: u32,
    [list, images]: [&Tensor; 2],
    count: u32,
    size: i64,
) -> Result<(), String> {
    let shim = shim()?;
    let [table, list, images] = [table, list, images].map(|t| t.as_ptr().cast_mut().cast());
    // SAFETY: the pointers are tensors that live until the call returns.
    told(unsafe { (shim.draws)(DRAWS.as_ptr(), table, first, list, images, count, size as f64) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dynamic symbols that the library defines, read as the loader would.
    fn names() -> Vec<String> {
        let text = String::from_utf8_lossy(LIBRARY);
        let words = text.split('\0').filter(|word| word.starts_with("vqfarm_"));
        words.map(str::to_owned).collect()
    }

    #[test]
    fn the_library_has_every_function_that_is_looked_for() {
        if !is_built_in() {
            eprintln!("skipped: built without CUDA's headers");
            return;
        }
        assert_eq!(&LIBRARY[..4], b"\x7fELF");
        let names = names();
        for name in [
            "graph_begin",
            "graph_end",
            "graph_replay",
            "graph_free",
            "lanes_fork",
            "lanes_take",
            "lanes_join",
            "memory",
            "memory_reset_peak",
            "memory_empty_cache",
            "synchronize",
            "each",
            "norm_swish",
            "draws",
            "uuid",
            "region",
            "region_descriptor",
            "region_tensor",
            "region_free",
        ] {
            assert!(names.contains(&format!("vqfarm_{name}")), "{name} is not among {names:?}");
        }
    }

    #[test]
    fn without_libtorchs_cuda_library_the_answer_says_what_is_missing() {
        if super::super::cuda_devices().is_ok() {
            return;
        }
        let captured = Graph::capture(0, || Ok::<_, String>(()));
        let refusals =
            [gpu_memory(0).err(), synchronize(0).err(), Lanes::fork(0, 2).err(), captured.err()];
        for refusal in refusals {
            let refusal = refusal.unwrap();
            assert!(refusal.contains("CUDA"), "{refusal}");
        }
    }

    #[test]
    fn a_file_in_memory_holds_what_it_was_given() {
        let file = in_memory(b"these bytes").unwrap();
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        assert_eq!(std::fs::read(path).unwrap(), b"these bytes");
    }
}
