//! Weights that are on a device once, for all networks, threads and processes that use them.

mod exchange;
mod room;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};
use vqfarm_weights::{Dtype, StateDict, TensorData};

use super::Weights;
use crate::device;
use crate::error::Result;
use exchange::{Found, Offer};
use room::{Piece, Room, STEP};

/// Where libtorch's own memory on a CPU begins: at multiples of this.
const ALIGNED: usize = 64;

/// A checkpoint's tensors on a device as float32, never to be written to: those of a CPU are the
/// checkpoint's own bytes where these are float32 and lie as libtorch's own would. What is made of
/// them must not outlive them, unless it holds [`SharedTensors::bytes`].
#[derive(Default)]
pub struct SharedTensors {
    pub tensors: BTreeMap<String, Tensor>,
    /// The same in bf16, where processes share that as well.
    pub(crate) bf16: BTreeMap<String, Tensor>,
    /// What the tensors lie in. Dropped after them.
    bytes: Vec<Bytes>,
    /// Hands them to other processes.
    offer: Option<Arc<Offer>>,
}

/// Who else has a checkpoint's tensors in the same memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// The other processes that have the file open: they are its own bytes.
    File,
    /// Whoever asks for them, from now on.
    Offered,
    /// The process that offered them.
    Joined,
    /// Nobody, and why.
    Alone(String),
}

impl SharedTensors {
    /// Half precisions travel to the device as they are and become float32 there.
    ///
    /// # Errors
    /// libtorch is out of memory.
    pub fn new(state: &StateDict, device: Device) -> Result<Self> {
        let mut shared = Self::default();
        shared.add(state, device)?;
        Ok(shared)
    }

    /// The tensors that are not here yet.
    fn add(&mut self, state: &StateDict, device: Device) -> Result<()> {
        for (name, data) in state {
            if self.tensors.contains_key(name) {
                continue;
            }
            let tensor = view(data)?.f_to_device(device)?.f_to_kind(Kind::Float)?;
            let tensor = match tensor.data_ptr().cast_const() == data.bytes.as_ptr().cast() {
                // libtorch adds in another order where memory begins elsewhere within a cache line
                // than its own does, and pictures must not depend on how weights were read.
                true if tensor.data_ptr().align_offset(ALIGNED) != 0 => tensor.f_detach_copy()?,
                true => {
                    self.bytes.push(data.bytes.clone());
                    tensor
                }
                false => tensor,
            };
            self.tensors.insert(name.clone(), tensor);
        }
        Ok(())
    }

    /// As [`SharedTensors::new`], in memory that all processes of this user on this machine have in
    /// common which ask for a model by the same name, such as its hash: one makes it, the others
    /// wait for that, and it stays as long as one of them has it. For networks that compute in
    /// `kind`; on a GPU the weights of convolutions lie by pixels.
    ///
    /// Whatever prevents it, each process has its own: the second value tells.
    ///
    /// # Errors
    /// libtorch is out of memory.
    pub fn among_processes(
        state: &StateDict,
        device: Device,
        kind: Kind,
        model: &str,
    ) -> Result<(Self, Sharing)> {
        let (pieces, bytes) = plan(state, device, kind);
        if pieces.is_empty() {
            return Ok((Self::new(state, device)?, Sharing::File));
        }
        let shared = name(device, model, &pieces).and_then(|name| {
            let (room, offer, sharing) = found(&name, device, &pieces, bytes)?;
            Ok((Self::within(room, &pieces)?, offer, sharing))
        });
        match shared {
            Ok((mut shared, offer, sharing)) => {
                shared.offer = Some(Arc::new(offer));
                shared.add(state, device)?;
                Ok((shared, sharing))
            }
            Err(why) => Ok((Self::new(state, device)?, Sharing::Alone(why))),
        }
    }

    fn within(room: Room, pieces: &[Piece]) -> Result<Self, String> {
        let mut shared = Self::default();
        for piece in pieces {
            let tensor = room.tensor(piece)?;
            let all =
                if piece.kind == Kind::Float { &mut shared.tensors } else { &mut shared.bf16 };
            all.insert(piece.name.to_owned(), tensor);
        }
        if let Room::Cpu(bytes) = room {
            shared.bytes.push(bytes);
        }
        Ok(shared)
    }

    /// For a network that computes in `kind`.
    pub(crate) fn weights(&self, kind: Kind) -> Weights<'_> {
        Weights::new(&self.tensors, kind).with_bf16(&self.bf16)
    }

    /// Keeps alive what the tensors lie in.
    pub fn bytes(&self) -> &[Bytes] {
        &self.bytes
    }

    /// The same tensors for another thread.
    pub fn share(&self) -> Self {
        let same = |tensors: &BTreeMap<String, Tensor>| {
            tensors.iter().map(|(name, t)| (name.clone(), t.shallow_clone())).collect()
        };
        Self {
            tensors: same(&self.tensors),
            bf16: same(&self.bf16),
            bytes: self.bytes.clone(),
            offer: self.offer.clone(),
        }
    }
}

/// The tensors that have to be made, one after another, and how many bytes they take.
fn plan<'a>(state: &'a StateDict, device: Device, kind: Kind) -> (Vec<Piece<'a>>, u64) {
    let (mut pieces, mut offset) = (Vec::new(), 0u64);
    let mut add = |name, data: &'a TensorData, kind| {
        let sizes = data.dims();
        let strides = strides(&sizes, device.is_cuda());
        let piece = Piece { name, data, kind, sizes, strides, offset };
        offset = (offset + piece.bytes()).next_multiple_of(STEP);
        pieces.push(piece);
    };
    for (name, data) in state {
        // A CPU's processes share what is float32 by mapping the same file.
        if device.is_cuda() || data.dtype != Dtype::F32 {
            add(name, data, Kind::Float);
        }
        if kind == Kind::BFloat16 && data.dtype.is_float() {
            add(name, data, kind);
        }
    }
    (pieces, offset)
}

/// How far apart neighbours lie along each side; `by_pixels` for what convolutions use.
fn strides(sizes: &[i64], by_pixels: bool) -> Vec<i64> {
    if let (true, [_, channels, height, width]) = (by_pixels, sizes) {
        return vec![channels * height * width, 1, width * channels, *channels];
    }
    let mut strides = vec![1; sizes.len()];
    for i in (1..sizes.len()).rev() {
        strides[i - 1] = strides[i] * sizes[i].max(1);
    }
    strides
}

/// What processes must agree on to use the same memory.
fn name(device: Device, model: &str, pieces: &[Piece]) -> Result<String, String> {
    let place = match device {
        Device::Cuda(index) => device::uuid(index)?,
        _ => "cpu".into(),
    };
    let mut hash = Sha256::new();
    // Another version may read a file otherwise.
    hash.update(format!("{} {model}", env!("CARGO_PKG_VERSION")));
    for Piece { name, kind, sizes, strides, offset, .. } in pieces {
        hash.update(format!("\n{name} {kind:?} {sizes:?} {strides:?} {offset}"));
    }
    let user = rustix::process::geteuid().as_raw();
    let mut text = format!("vqfarm/weights/1/{user}/{place}/");
    for byte in &hash.finalize()[..16] {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

fn found(
    name: &str,
    device: Device,
    pieces: &[Piece],
    bytes: u64,
) -> Result<(Room, Offer, Sharing), String> {
    let system = |error: std::io::Error| error.to_string();
    match exchange::find(name).map_err(system)? {
        Found::Nobody(claim) => {
            let (room, memory) = Room::made(device, pieces, bytes)?;
            Ok((room, claim.offer(memory).map_err(system)?, Sharing::Offered))
        }
        Found::Held(memory, holder) => {
            let room = Room::opened(device, &memory)?;
            Ok((room, holder.stand_by(memory).map_err(system)?, Sharing::Joined))
        }
    }
}

/// A tensor on the CPU that lies in the data's own bytes and must not outlive them.
#[allow(unsafe_code, reason = "a tensor over memory that is not libtorch's")]
fn view(data: &TensorData) -> Result<Tensor> {
    let kind = match data.dtype {
        Dtype::F64 => Kind::Double,
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::I64 => Kind::Int64,
        Dtype::I32 => Kind::Int,
        Dtype::I16 => Kind::Int16,
        Dtype::I8 => Kind::Int8,
        Dtype::U8 => Kind::Uint8,
        Dtype::Bool => Kind::Bool,
    };
    // SAFETY: readers guarantee as many bytes as the shape says; who calls this keeps them alive
    // for as long as the tensor and does not write to it.
    Ok(unsafe { Tensor::f_from_blob(data.bytes.as_ptr(), &data.dims(), &[], kind, Device::Cpu) }?)
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::exchange::tests::{unused, wait_until_offered};
    use super::*;
    use crate::net::layers::channels_last;
    use crate::net::to_tensors;

    /// One tensor of six numbers, whatever they are stored as.
    fn state(dtype: Dtype) -> StateDict {
        let numbers = [0.5f32, -1.0, 2.5, 3.0, -0.125, 1e-3];
        let bytes: Vec<u8> = match dtype {
            Dtype::F16 => numbers.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
            Dtype::BF16 => numbers.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
            Dtype::F64 => numbers.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect(),
            _ => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        let tensor = TensorData { shape: vec![2, 3], dtype, bytes: placed(&bytes, 0) };
        [("w".to_owned(), tensor)].into_iter().collect()
    }

    /// Bytes so far behind an address that libtorch might have chosen.
    fn placed(bytes: &[u8], behind: usize) -> Bytes {
        let mut room = vec![0; bytes.len() + 2 * ALIGNED];
        let at = room.as_ptr().align_offset(ALIGNED) + behind;
        room[at..at + bytes.len()].copy_from_slice(bytes);
        Bytes::from(room).slice(at..at + bytes.len())
    }

    #[test]
    fn what_is_shared_is_what_is_copied() {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64] {
            let state = state(dtype);
            let shared = SharedTensors::new(&state, Device::Cpu).unwrap();
            assert_eq!(shared.tensors, to_tensors(&state, Device::Cpu).unwrap(), "{dtype:?}");
            let is_same = shared.tensors["w"].data_ptr().cast_const().cast()
                == state.get("w").unwrap().bytes.as_ptr();
            assert_eq!(is_same, dtype == Dtype::F32, "only float32 is used as it lies");
            assert_eq!(shared.bytes().len(), usize::from(is_same));
        }
    }

    #[test]
    fn tensors_keep_what_they_lie_in() {
        let state = state(Dtype::F32);
        let expected = to_tensors(&state, Device::Cpu).unwrap();
        let first = SharedTensors::new(&state, Device::Cpu).unwrap();
        let other = first.share();
        drop((state, first));
        assert_eq!(other.tensors, expected);
    }

    #[test]
    fn bytes_that_lie_otherwise_than_libtorchs_own_are_copied() {
        for behind in [1, 4, 16] {
            let mut state = state(Dtype::F32);
            let tensor = state.remove("w").unwrap();
            let bytes = placed(&tensor.bytes, behind);
            state.insert("w", TensorData { bytes, ..tensor });
            let shared = SharedTensors::new(&state, Device::Cpu).unwrap();
            assert_eq!(shared.tensors, to_tensors(&state, Device::Cpu).unwrap());
            assert!(shared.bytes().is_empty());
            assert_eq!(shared.tensors["w"].data_ptr().align_offset(ALIGNED), 0);
        }
    }

    /// The file that memory at this place is mapped from, by its number.
    fn file_of(tensor: &Tensor) -> u64 {
        let place = tensor.data_ptr() as usize;
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let within = |line: &&str| {
            let range = line.split_once(' ').unwrap().0.split_once('-').unwrap();
            let [from, to] = [range.0, range.1].map(|n| usize::from_str_radix(n, 16).unwrap());
            (from..to).contains(&place)
        };
        let line = maps.lines().find(within).unwrap();
        assert!(line.contains("vqfarm-weights"), "{line}");
        line.split_whitespace().nth(4).unwrap().parse().unwrap()
    }

    fn asked(dtype: Dtype, kind: Kind, model: &str) -> (SharedTensors, Sharing) {
        SharedTensors::among_processes(&state(dtype), Device::Cpu, kind, model).unwrap()
    }

    #[test]
    fn who_asks_for_the_same_model_gets_the_same_memory() {
        let model = unused("same");
        for dtype in [Dtype::F16, Dtype::BF16, Dtype::F64] {
            let (first, offered) = asked(dtype, Kind::Float, &model);
            let (second, joined) = asked(dtype, Kind::Float, &model);
            assert_eq!([offered, joined], [Sharing::Offered, Sharing::Joined], "{dtype:?}");
            for shared in [&first, &second, &second.share()] {
                assert_eq!(shared.tensors, to_tensors(&state(dtype), Device::Cpu).unwrap());
                assert_eq!(file_of(&shared.tensors["w"]), file_of(&first.tensors["w"]));
                assert_eq!(shared.tensors["w"].data_ptr().align_offset(ALIGNED), 0);
            }
            let (other, offered) = asked(dtype, Kind::Float, &unused("other"));
            assert_eq!(offered, Sharing::Offered);
            assert_ne!(file_of(&other.tensors["w"]), file_of(&first.tensors["w"]));
        }
    }

    #[test]
    fn bf16_is_shared_beside_float32() {
        let model = unused("bf16");
        // The float32 is the file's own.
        let all = [0, 1].map(|_| asked(Dtype::F32, Kind::BFloat16, &model).0);
        let files = all.each_ref().map(|shared| file_of(&shared.bf16["w"]));
        assert_eq!(files[0], files[1]);
        for shared in all {
            let [wide, narrow] = [Kind::Float, Kind::BFloat16]
                .map(|kind| shared.weights(kind).get("w", &[2, 3]).unwrap());
            assert!(narrow.equal(&wide.to_kind(Kind::BFloat16)));
            assert_eq!(narrow.data_ptr(), shared.bf16["w"].data_ptr());
            assert_eq!(wide.data_ptr(), shared.tensors["w"].data_ptr());
            assert!(shared.weights(Kind::BFloat16).get("w", &[3, 2]).is_err());
        }
    }

    #[test]
    fn what_lies_well_in_the_file_needs_no_other_memory() {
        assert_eq!(asked(Dtype::F32, Kind::Float, "file").1, Sharing::File);
    }

    #[test]
    fn memory_that_may_change_is_not_used() {
        use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
        let (state, model) = (state(Dtype::F16), unused("may change"));
        let (pieces, bytes) = plan(&state, Device::Cpu, Kind::Float);
        let Found::Nobody(claim) =
            exchange::find(&name(Device::Cpu, &model, &pieces).unwrap()).unwrap()
        else {
            panic!("somebody has it");
        };
        let file = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, bytes).unwrap();
        let _offer = claim.offer(exchange::Memory::new(file, bytes)).unwrap();
        let (own, sharing) = asked(Dtype::F16, Kind::Float, &model);
        assert!(matches!(&sharing, Sharing::Alone(why) if why.contains("change")), "{sharing:?}");
        assert_eq!(own.tensors, to_tensors(&state, Device::Cpu).unwrap());
    }

    const MODEL: &str = "VQFARM_TEST_SHARED_MODEL";

    /// The other process of the test below: has the model until it is killed.
    #[test]
    #[ignore = "run by the_memory_outlives_the_process_that_made_it"]
    fn another_process() {
        let Ok(model) = std::env::var(MODEL) else { return };
        let (_shared, sharing) = asked(Dtype::F16, Kind::Float, &model);
        println!("\n{sharing:?}");
        std::thread::park();
    }

    #[test]
    fn the_memory_outlives_the_process_that_made_it() {
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};

        use rustix::process::{Pid, Signal, kill_process};
        let model = unused("outlives");
        let mut maker = Command::new(std::env::current_exe().unwrap());
        maker.args(["--ignored", "--exact", "--nocapture", "net::shared::tests::another_process"]);
        let mut maker = maker.env(MODEL, &model).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(maker.stdout.take().unwrap()).lines();
        lines.map(Result::unwrap).find(|line| line == "Offered").unwrap();
        let (first, sharing) = asked(Dtype::F16, Kind::Float, &model);
        assert_eq!(sharing, Sharing::Joined);
        // Nobody waits for one that is stopped.
        let process = Pid::from_child(&maker);
        kill_process(process, Signal::STOP).unwrap();
        let threads = format!("/proc/{}/task", maker.id());
        let is_still = |thread: std::fs::DirEntry| {
            std::fs::read_to_string(thread.path().join("stat")).unwrap().contains(") T ")
        };
        while !std::fs::read_dir(&threads).unwrap().all(|thread| is_still(thread.unwrap())) {}
        let (_, sharing) = asked(Dtype::F16, Kind::Float, &model);
        assert!(matches!(&sharing, Sharing::Alone(why) if why.contains("stopped")), "{sharing:?}");
        maker.kill().unwrap();
        maker.wait().unwrap();
        let state = state(Dtype::F16);
        let wanted = to_tensors(&state, Device::Cpu).unwrap();
        assert_eq!(first.tensors, wanted);
        // This process has taken the name over.
        let (pieces, _) = plan(&state, Device::Cpu, Kind::Float);
        wait_until_offered(&name(Device::Cpu, &model, &pieces).unwrap());
        let (second, sharing) = asked(Dtype::F16, Kind::Float, &model);
        assert_eq!(sharing, Sharing::Joined);
        assert_eq!(second.tensors, wanted);
        assert_eq!(file_of(&second.tensors["w"]), file_of(&first.tensors["w"]));
    }

    #[test]
    fn convolutions_of_a_gpu_lie_by_pixels() {
        for sizes in [vec![], vec![3], vec![4, 5], vec![2, 3, 4, 5]] {
            let own = Tensor::zeros(&sizes, (Kind::Float, Device::Cpu));
            assert_eq!(strides(&sizes, false), own.stride());
            let wanted = if sizes.len() == 4 { channels_last(&own) } else { own };
            assert_eq!(strides(&sizes, true), wanted.stride());
        }
    }
}
