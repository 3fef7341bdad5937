//! libtorch's CUDA side, loaded by hand: the program links only the CPU's, so that one build
//! runs everywhere, and without these libraries loaded CUDA would silently be absent.

use std::ffi::{c_int, c_void};
use std::path::PathBuf;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW, Symbol};

const CPU: &str = "libtorch_cpu.so";
const CUDA: &str = "libtorch_cuda.so";

/// Loads and keeps the CUDA libraries; later calls repeat the first one's answer.
pub(super) fn register() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(load).clone()
}

fn load() -> Result<(), String> {
    let candidates = candidates();
    let mut failures = Vec::new();
    for path in &candidates {
        match open(path) {
            Ok(library) => {
                // Its kernels stay registered, so it must never be unloaded.
                std::mem::forget(library);
                return Ok(());
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    Err(format!(
        "libtorch's CUDA library cannot be loaded ({}); install PyTorch of libtorch's version \
         with CUDA and name its lib directory in VQFARM_TORCH_LIB",
        failures.join("; ")
    ))
}

/// Where to look: where the user says, where the CPU library really lies (it may be linked
/// from an installed PyTorch), and wherever the loader looks.
fn candidates() -> Vec<PathBuf> {
    let named = std::env::var_os("VQFARM_TORCH_LIB").map(|dir| PathBuf::from(dir).join(CUDA));
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let beside = maps.lines().find_map(|line| {
        let path = PathBuf::from(line.get(line.find('/')?..)?);
        path.ends_with(CPU).then(|| path.with_file_name(CUDA)).filter(|cuda| cuda.exists())
    });
    named.into_iter().chain(beside).chain([PathBuf::from(CUDA)]).collect()
}

#[allow(unsafe_code, reason = "loading a library runs its initialisers; this one is libtorch's")]
fn open(path: &PathBuf) -> Result<Library, libloading::Error> {
    // SAFETY: the library belongs to the libtorch that this program is already linked to,
    // whose initialisers only register kernels.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }
}

/// Switches TF32 in matrix products and convolutions; tch does not wrap these setters.
#[allow(unsafe_code, reason = "tch does not wrap libtorch's TF32 setters")]
pub(super) fn allow_tf32(allow: bool) -> Result<(), String> {
    type Context = *mut c_void;
    let missing = |e: libloading::Error| format!("libtorch's TF32 switch is missing: {e}");
    let program = Library::this();
    // SAFETY: the mangled names carry the signatures: `at::Context& at::globalContext()` and
    // `void at::Context::set…(bool)`; a member function takes `this` as its first argument.
    unsafe {
        let context: Symbol<unsafe extern "C" fn() -> Context> =
            program.get(b"_ZN2at13globalContextEv").map_err(missing)?;
        for name in ["_ZN2at7Context18setAllowTF32CuBLASEb", "_ZN2at7Context17setAllowTF32CuDNNEb"]
        {
            let set: Symbol<unsafe extern "C" fn(Context, bool)> =
                program.get(name.as_bytes()).map_err(missing)?;
            set(context(), allow);
        }
    }
    Ok(())
}

/// Bytes of a device's memory: those that nobody uses, and all.
#[allow(unsafe_code, reason = "tch does not wrap the CUDA runtime's questions")]
pub(super) fn memory(index: usize) -> Result<(u64, u64), String> {
    let missing = |e: libloading::Error| format!("CUDA's runtime is missing: {e}");
    let index = c_int::try_from(index).map_err(|e| e.to_string())?;
    let program = Library::this();
    // SAFETY: these are the C signatures of the CUDA runtime, which libtorch has loaded; both
    // numbers are ours to write to.
    unsafe {
        let set: Symbol<unsafe extern "C" fn(c_int) -> c_int> =
            program.get(b"cudaSetDevice").map_err(missing)?;
        let ask: Symbol<unsafe extern "C" fn(*mut usize, *mut usize) -> c_int> =
            program.get(b"cudaMemGetInfo").map_err(missing)?;
        let (mut free, mut total) = (0, 0);
        match (set(index), ask(&mut free, &mut total)) {
            (0, 0) => Ok((free as u64, total as u64)),
            (set, ask) => Err(format!("CUDA answers with the errors {set} and {ask}")),
        }
    }
}
