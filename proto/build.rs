//! Compiles the service with protox: no `protoc` is needed.

use std::path::PathBuf;

/// Messages that `--json` prints as they are.
const PRINTED: [&str; 9] = [
    "Counts",
    "Needs",
    "Reason",
    "Failure",
    "Health",
    "Problem",
    "Log",
    "ReconcileResponse",
    "Garbage",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=vqfarm");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true).open_file("vqfarm/v1/farm.proto")?;
    let descriptor = PathBuf::from(std::env::var("OUT_DIR")?).join("farm.bin");
    std::fs::write(descriptor, compiler.encode_file_descriptor_set())?;
    let mut config = tonic_prost_build::configure()
        // Whole pictures and weights have no place in a log.
        .skip_debug(["SubmitRequest", "PutModelRequest", "FetchResponse", "NewestFrameResponse"]);
    for message in PRINTED {
        let path = format!(".vqfarm.v1.{message}");
        config = config.message_attribute(path, "#[derive(serde::Serialize)]");
    }
    config.compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
