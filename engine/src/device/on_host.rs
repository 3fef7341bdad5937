//! Tests of what is written for a GPU, on the host: C++ programs with libtorch.

use std::process::Command;

/// Compiles a program of `engine/cuda/` with these flags beside the usual ones, runs it and answers
/// with what it printed.
pub fn run(source: &str, flags: &[&str]) -> String {
    let libtorch = std::env::var("LIBTORCH").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    let mut compile = Command::new("c++");
    compile.args(["-std=c++20", "-O1", "-w", "-pthread"]).args(flags).arg(source);
    compile.arg("-o").arg(&program).arg(format!("-I{libtorch}/include"));
    compile.arg(format!("-I{libtorch}/cuda/include")).arg(format!("-L{libtorch}/lib"));
    compile.args(["-ltorch_cpu", "-lc10", "-ldl"]).arg(format!("-Wl,-rpath,{libtorch}/lib"));
    let compiled = compile.output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let ran = Command::new(&program).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}
