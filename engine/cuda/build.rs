//! Builds the library of `shim.cpp` where CUDA's headers are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

#[path = "../build.rs"]
mod libtorch;

const SHIM: &str = "cuda/shim.cpp";

fn main() {
    libtorch::main();
    println!("cargo:rerun-if-env-changed=CUDA_HOME");
    for part in
        [SHIM, "cuda/kernels.h", "cuda/library.h", "cuda/norm.h", "cuda/region.h", "cuda/build.rs"]
    {
        println!("cargo:rerun-if-changed={part}");
    }
    let libtorch = env::var_os("LIBTORCH").map(PathBuf::from);
    let Some(out) = env::var_os("OUT_DIR").map(|dir| PathBuf::from(dir).join("shim.so")) else {
        return;
    };
    // Empty where it cannot be built: the program then says so when it is asked for it.
    if let Err(why) = libtorch.ok_or("LIBTORCH is not set".into()).and_then(|t| shim(&t, &out)) {
        println!("cargo:warning=built without CUDA graphs: {why}");
        if let Err(error) = fs::write(&out, []) {
            println!("cargo:error={}: {error}", out.display());
        }
    }
}

fn shim(libtorch: &Path, out: &Path) -> Result<(), String> {
    // The set-up writes it anew when it adds the headers. A file that is not there would have
    // everything built again each time.
    let made = libtorch.join("from");
    if made.exists() {
        println!("cargo:rerun-if-changed={}", made.display());
    }
    let cuda = cuda_headers(libtorch)
        .ok_or("no cuda_runtime_api.h found; `make setup` or a CUDA_HOME provides it")?;
    let compiler = cc::Build::new().cpp(true).cargo_metadata(false).opt_level(1).get_compiler();
    let mut command: Command = compiler.to_command();
    command.args(["-std=c++20", "-fPIC", "-shared", "-fvisibility=hidden", "-w", "-I"]);
    command.arg(libtorch.join("include")).arg("-I").arg(cuda).args([SHIM, "-o"]).arg(out);
    let answer = command.output().map_err(|error| format!("the C++ compiler: {error}"))?;
    if answer.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&answer.stderr);
    Err(text.lines().find(|line| line.contains("error")).unwrap_or("it does not compile").into())
}

/// Where the set-up puts them, where an installed PyTorch has them, where a toolkit does.
fn cuda_headers(libtorch: &Path) -> Option<PathBuf> {
    let include = fs::canonicalize(libtorch.join("include")).ok();
    let packages = include.as_deref().and_then(Path::parent).and_then(Path::parent);
    let toolkit = env::var_os("CUDA_HOME").map_or_else(|| "/usr/local/cuda".into(), PathBuf::from);
    [
        Some(libtorch.join("cuda/include")),
        packages.map(|dir| dir.join("nvidia/cu13/include")),
        Some(toolkit.join("include")),
    ]
    .into_iter()
    .flatten()
    .find(|dir| {
        ["cuda_runtime_api.h", "crt/host_defines.h"].iter().all(|name| dir.join(name).exists())
    })
}
