//! Files of weights that are small and become, or say that they are, more than any machine has.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

use vqfarm_tests::{Bench, Ran, finish, program};

use crate::zip;

/// What the command may take of the machine's addresses while it refuses a file, in KiB.
const ROOM: u32 = 1_000_000;

/// Imports a file; memory beyond [`ROOM`] would end the command.
fn import(bench: &Bench, name: &str) -> Ran {
    let mut command = Command::new("sh");
    let script = format!("ulimit -v {ROOM}; exec \"$@\"");
    command.args(["-c", &script, "sh"]).arg(program("vqfarm"));
    command.args(["models", "import", name, "--name", "evil"]);
    command.current_dir(bench.path("")).env("VQFARM_MODELS", bench.path("models"));
    finish(&mut command)
}

/// A safetensors file of this header, which is said to have so many bytes.
fn safetensors(header: &str, length: u64) -> Vec<u8> {
    [&length.to_le_bytes(), header.as_bytes()].concat()
}

fn whole(header: &str) -> Vec<u8> {
    safetensors(header, header.len() as u64)
}

#[test]
fn weights_that_grow_are_refused_within_bounds() {
    let bench = Bench::new("");
    let shape = |shape: &str, end: u64| {
        format!(r#"{{"w":{{"dtype":"F32","shape":[{shape}],"data_offsets":[0,{end}]}}}}"#)
    };
    let many: Vec<String> = (0..250_000)
        .map(|n| format!(r#""{n}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    let cases: [(&str, Vec<u8>, &str); 11] = [
        ("claims.pt", zip::claiming(1 << 40), "overlaps what follows"),
        ("entries.pt", zip::counting(1 << 40), "directory"),
        ("quoted.pt", zip::quoted(50_000), "contradicts the directory"),
        ("crowded.pt", zip::quoted(300_000), "limit"),
        ("deflated.ckpt", zip::deflated(), "is compressed"),
        ("endless.safetensors", safetensors("{}", u64::MAX), "limit"),
        ("long.safetensors", safetensors("{", 1 << 34), "limit"),
        ("deep.safetensors", whole(&"{\"a\":".repeat(3_000_000)), "damaged safetensors header"),
        (
            "sides.safetensors",
            whole(&shape(&format!("{}9", "9,".repeat(8_000_000)), 0)),
            "dimensions",
        ),
        ("tensor.safetensors", whole(&shape("549755813888", 1 << 41)), "truncated"),
        ("tensors.safetensors", whole(&format!("{{{}}}", many.join(","))), "neither a VQGAN's"),
    ];
    for (name, bytes, because) in cases {
        fs::write(bench.path(name), bytes).expect("written");
        let ran = import(&bench, name);
        assert_eq!(ran.status, 1, "{name}: {ran:?}");
        assert!(ran.stderr.contains(name) && ran.stderr.contains(because), "{}", ran.stderr);
        assert!(ran.stderr.len() < 1000, "{name}: an error as large as its file");
    }
    // Seventy gigabytes of nothing, which take no room on the disk.
    let mut file = File::create(bench.path("sparse.pt")).expect("a file");
    file.write_all(b"PK\x03\x04").expect("written");
    file.set_len(70 << 30).expect("a long file");
    let ran = import(&bench, "sparse.pt");
    assert!(ran.status == 1 && ran.stderr.contains("limit"), "{ran:?}");
    let left = fs::read_dir(bench.path("models")).expect("the library").flatten();
    let left = left.filter(|entry| entry.file_name().to_string_lossy().contains("evil"));
    assert_eq!(left.count(), 0, "nothing of them is kept");
}
