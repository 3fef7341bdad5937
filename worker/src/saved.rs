//! A picture half made, as a file: latent, start and what the optimiser remembers, to the bit.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use safetensors::tensor::{SafeTensors, TensorView};
use safetensors::{Dtype, serialize};
use tch::{Device, Kind, Tensor};
use vqfarm_engine::session::SavedPicture;

/// The file of a picture that is known by `identity` ([`vqfarm_core::job::stopped_identity`]); `None`
/// where libtorch or memory fail.
pub fn encode(saved: &SavedPicture, identity: &str) -> Option<Bytes> {
    let flat = |(name, tensor): (&String, &Tensor)| {
        let tensor = tensor.f_to_device(Device::Cpu).ok()?;
        let size: Vec<usize> = tensor.size().into_iter().map(|n| n as usize).collect();
        // Anything else would not come back as it was.
        let flat = (tensor.kind() == Kind::Float).then(|| tensor.contiguous().view(-1))?;
        let numbers = Vec::<f32>::try_from(flat).ok()?;
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        Some((name.clone(), size, bytes))
    };
    let tensors: Option<Vec<_>> = saved.tensors.iter().map(flat).collect();
    let tensors = tensors?;
    let mut views = Vec::with_capacity(tensors.len());
    for tensor in &tensors {
        let (name, size, bytes) = tensor;
        views.push((name.as_str(), TensorView::new(Dtype::F32, size.clone(), bytes).ok()?));
    }
    let notes = HashMap::from([
        ("identity".to_owned(), identity.to_owned()),
        ("iteration".to_owned(), saved.iteration.to_string()),
        ("steps".to_owned(), saved.steps.to_string()),
    ]);
    serialize(views, Some(notes)).ok().map(Bytes::from)
}

/// `None` for what is damaged or another picture's.
pub fn decode(bytes: &[u8], identity: &str) -> Option<SavedPicture> {
    let (_, head) = SafeTensors::read_metadata(bytes).ok()?;
    let notes = head.metadata().as_ref()?;
    if notes.get("identity").map(String::as_str) != Some(identity) {
        return None;
    }
    let mut tensors = BTreeMap::new();
    for (name, tensor) in SafeTensors::deserialize(bytes).ok()?.tensors() {
        if tensor.dtype() != Dtype::F32 {
            return None;
        }
        let (numbers, _) = tensor.data().as_chunks::<4>();
        let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let size: Vec<i64> = tensor.shape().iter().map(|n| *n as i64).collect();
        tensors.insert(name, Tensor::from_slice(&numbers).f_view(size.as_slice()).ok()?);
    }
    let iteration = notes.get("iteration")?.parse().ok()?;
    Some(SavedPicture { iteration, steps: notes.get("steps")?.parse().ok()?, tensors })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_read_back_to_the_bit() {
        let z = Tensor::from_slice(&[1.5_f32, -0.0, f32::MIN_POSITIVE, 3e9]).view([1, 2, 1, 2]);
        let tensors = [("z".to_owned(), z.copy())].into();
        let saved = SavedPicture { iteration: 60, steps: 61, tensors };
        let bytes = encode(&saved, "ab").unwrap();
        let read = decode(&bytes, "ab").unwrap();
        assert_eq!((read.iteration, read.steps), (60, 61));
        assert_eq!(read.tensors["z"].size(), [1, 2, 1, 2]);
        let bits = |z: &Tensor| -> Vec<u32> {
            Vec::<f32>::try_from(z.view(-1)).unwrap().into_iter().map(f32::to_bits).collect()
        };
        assert_eq!(bits(&read.tensors["z"]), bits(&z));
        assert!(decode(&bytes, "ac").is_none(), "another picture's");
        assert!(decode(&bytes[..bytes.len() - 1], "ab").is_none(), "cut");
        assert!(decode(b"", "ab").is_none());
    }
}
