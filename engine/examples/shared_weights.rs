//! Whether processes really share weights on a device: one makes up 128 MB of them, another one joins
//! and goes on after the first was killed.
//!
//!     cargo run --release -p vqfarm-engine --example shared_weights -- DEVICE PRECISION
//!     … -- cuda bf16
//!
//! A line of JSON from each process when it has them: whose they are, the seconds that took, and the
//! bytes of a GPU that are free then; one more from the second after the first one's end. Exit status
//! 1 when the second has weights of its own, or either has wrong ones.

use std::io::{BufRead, BufReader, Read, stdin};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use half::f16;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use vqfarm_engine::device;
use vqfarm_engine::net::{SharedTensors, Sharing, to_tensors};
use vqfarm_weights::{Dtype, StateDict, TensorData};

/// As many convolutions as make 128 MB in float16, in the shape of a generator's.
const TENSORS: usize = 28;
const SHAPE: [usize; 4] = [512, 512, 3, 3];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [device, precision] => supervise(device, precision),
        [device, precision, process, name] => hold(device, precision, process, name),
        _ => bail!("say which device and which precision, as in `cuda bf16`"),
    }
}

fn supervise(device: &str, precision: &str) -> Result<()> {
    let name = format!("shared_weights {}", std::process::id());
    let start = |process: &str| -> Result<(Child, BufReader<_>)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([device, precision, process, &name]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let said = child.stdout.take().context("its words")?;
        Ok((child, BufReader::new(said)))
    };
    let next = |said: &mut BufReader<_>| -> Result<Value> {
        let mut line = String::new();
        said.read_line(&mut line)?;
        print!("{line}");
        serde_json::from_str(&line).context("a process failed")
    };
    let (mut first, mut its_words) = start("first")?;
    next(&mut its_words)?;
    let (mut second, mut its_words) = start("second")?;
    let joined = next(&mut its_words)?;
    first.kill()?;
    first.wait()?;
    drop(second.stdin.take());
    next(&mut its_words)?;
    ensure!(second.wait()?.success(), "the second process failed");
    ensure!(joined["sharing"] == "Joined", "the second has weights of its own: {joined}");
    Ok(())
}

/// Has the weights and looks at them, once more when the input ends.
fn hold(device: &str, precision: &str, process: &str, name: &str) -> Result<()> {
    let device = device::choose(device)?;
    let precision = serde_json::from_value(json!(precision)).context("no such precision")?;
    let state: StateDict =
        (0..TENSORS).map(|n| (format!("conv{n}.weight"), convolution(n))).collect();
    let begin = Instant::now();
    let kind = device::kind(device, precision);
    let (shared, sharing) = SharedTensors::among_processes(&state, device, kind, name)?;
    let seconds = begin.elapsed().as_secs_f64();
    compare(&shared, &state)?;
    let (sharing, why) = match sharing {
        Sharing::Alone(why) => ("Alone".into(), Some(why)),
        other => (format!("{other:?}"), None),
    };
    let free = match device {
        Device::Cuda(index) => Some(device::cuda_free_memory(index)?),
        _ => None,
    };
    let line = json!({ "process": process, "sharing": sharing, "why": why, "seconds": seconds,
                       "free_bytes": free });
    println!("{line}");
    stdin().read_to_end(&mut Vec::new())?;
    compare(&shared, &state)?;
    println!("{}", json!({ "process": process, "after": "the end of the other" }));
    Ok(())
}

/// Weights that tell where they stand.
fn convolution(number: usize) -> TensorData {
    let weight = |i: usize| f16::from_f32(((i * 31 + number * 17) % 2003) as f32 / 1024.0);
    let count = SHAPE.iter().product();
    let bytes: Vec<u8> = (0..count).flat_map(|i| weight(i).to_le_bytes()).collect();
    TensorData { shape: SHAPE.to_vec(), dtype: Dtype::F16, bytes: Bytes::from(bytes) }
}

fn compare(shared: &SharedTensors, state: &StateDict) -> Result<()> {
    for (name, wanted) in to_tensors(state, Device::Cpu)? {
        let found: &Tensor = shared.tensors.get(&name).context("a tensor is missing")?;
        ensure!(
            found.to_device(Device::Cpu).to_kind(Kind::Float).equal(&wanted),
            "{name} is wrong"
        );
    }
    Ok(())
}
