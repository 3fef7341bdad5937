//! The memory that processes share: of a CPU a file that lies nowhere, sealed when it is written, of
//! a GPU a region.

use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use memmap2::{MmapMut, MmapOptions};
use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create,
};
use tch::{Device, Kind, Tensor};
use vqfarm_weights::TensorData;

use super::exchange::Memory;
use super::view;
use crate::device::{self, Region};

/// Where tensors begin: at multiples of this, as in libtorch's own memory of a GPU.
pub(super) const STEP: u64 = 512;

/// One tensor and its place.
pub(super) struct Piece<'a> {
    pub name: &'a str,
    pub data: &'a TensorData,
    /// float32 or bf16.
    pub kind: Kind,
    pub sizes: Vec<i64>,
    pub strides: Vec<i64>,
    pub offset: u64,
}

impl Piece<'_> {
    pub fn bytes(&self) -> u64 {
        let size = if self.kind == Kind::BFloat16 { 2 } else { 4 };
        self.data.numel() as u64 * size
    }
}

/// Mapped memory.
pub(super) enum Room {
    Cpu(Bytes),
    Gpu(Region),
}

/// Nobody can change what is sealed so, nor make it shorter under whoever reads it.
const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::GROW).union(SealFlags::SHRINK);

impl Room {
    /// Makes memory on a device that has these pieces, the last of which ends before `bytes`.
    pub fn made(device: Device, pieces: &[Piece], bytes: u64) -> Result<(Self, Memory), String> {
        match device {
            Device::Cuda(index) => {
                let region = Region::new(index, bytes)?;
                let memory = Memory::new(region.descriptor()?, region.bytes());
                let room = Self::Gpu(region);
                for piece in pieces {
                    room.tensor(piece).and_then(|place| fill(place, piece))?;
                }
                // Others read it by streams of their own.
                device::synchronize(index)?;
                Ok((room, memory))
            }
            _ => {
                let file = written(pieces, bytes).map_err(|error| error.to_string())?;
                let memory = Memory::new(file, bytes);
                Ok((Self::opened(device, &memory)?, memory))
            }
        }
    }

    /// Memory that another process made.
    pub fn opened(device: Device, memory: &Memory) -> Result<Self, String> {
        match device {
            Device::Cuda(index) => {
                Ok(Self::Gpu(Region::open(index, &memory.descriptor, memory.bytes)?))
            }
            _ => Ok(Self::Cpu(mapped(memory).map_err(|error| error.to_string())?)),
        }
    }

    /// The tensor of a piece. Of a CPU it must not outlive the room's bytes.
    pub fn tensor(&self, piece: &Piece) -> Result<Tensor, String> {
        let place = [piece.sizes.as_slice(), &piece.strides];
        match self {
            Self::Gpu(region) => region.tensor(piece.offset, piece.kind, place),
            Self::Cpu(bytes) => {
                let end = piece.offset.saturating_add(piece.bytes());
                if end > bytes.len() as u64 {
                    return Err("a tensor beyond the memory that is shared".into());
                }
                laid_over(bytes.as_ptr(), piece).map_err(|error| error.to_string())
            }
        }
    }
}

fn fill(mut place: Tensor, piece: &Piece) -> Result<(), String> {
    let given = view(piece.data).map_err(|error| error.to_string())?;
    place.f_copy_(&given).map_err(|error| error.to_string())
}

/// A tensor at a piece's place in memory on a CPU.
#[allow(unsafe_code, reason = "a tensor over memory that is not libtorch's")]
fn laid_over(start: *const u8, piece: &Piece) -> Result<Tensor, tch::TchError> {
    let Piece { kind, sizes, strides, offset, .. } = piece;
    // SAFETY: who calls this has that much memory and keeps it.
    unsafe {
        let place = start.add(*offset as usize);
        Tensor::f_from_blob(place, sizes, strides, *kind, Device::Cpu)
    }
}

/// A file of the pieces that lies nowhere and cannot be changed any more.
fn written(pieces: &[Piece], bytes: u64) -> io::Result<OwnedFd> {
    let file = memfd_create("vqfarm-weights", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, bytes)?;
    #[allow(unsafe_code, reason = "a mapped file can change under whoever reads it")]
    // SAFETY: nobody else has the file yet.
    let map = unsafe { MmapMut::map_mut(&file) }?;
    for piece in pieces {
        // The plan's pieces end before `bytes`.
        let place = laid_over(map.as_ptr(), piece).map_err(io::Error::other)?;
        fill(place, piece).map_err(io::Error::other)?;
    }
    drop(map);
    fcntl_add_seals(&file, SEALS)?;
    Ok(file)
}

fn mapped(memory: &Memory) -> io::Result<Bytes> {
    let (seals, size) = (fcntl_get_seals(&memory.descriptor)?, fstat(&memory.descriptor)?.st_size);
    if !seals.contains(SEALS) || u64::try_from(size) != Ok(memory.bytes) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "memory that may change"));
    }
    #[allow(unsafe_code, reason = "a mapped file can change under whoever reads it")]
    // SAFETY: this one is sealed.
    let map = unsafe { MmapOptions::new().map_copy_read_only(&memory.descriptor) }?;
    Ok(Bytes::from_owner(map))
}
