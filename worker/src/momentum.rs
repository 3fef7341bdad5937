//! What the optimiser of a film remembers, where it goes on from frame to frame: stored after each
//! frame, so that another worker goes on with it to the bit.
//!
//! A segment has one file, which says after which frame it is so. A frame is stored before its
//! file is written over: between the two, the frame is there and is made once more for the sake of
//! what the optimiser learns from it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use bytes::Bytes;
use safetensors::tensor::{SafeTensors, TensorView};
use safetensors::{Dtype, serialize};
use vqfarm_core::keys;
use vqfarm_engine::picture::Momentum;
use vqfarm_storage::StoreError;

use crate::job::OpenJob;

/// The optimiser as it was after a frame.
#[derive(Clone, Debug, PartialEq)]
struct After {
    frame: u64,
    momentum: Momentum,
}

/// Where segment `index` of layer number `layer` keeps it.
fn key(job: &OpenJob, layer: u8, index: u64) -> Option<String> {
    let layer = job.plan.layers.get(usize::from(layer))?;
    Some(keys::work(&layer.name, index, "safetensors"))
}

/// What is known of the optimiser before frame `first` of segment `index`, whose frames are
/// `frames`: the frame to go on with, `first` or an earlier one, and what is remembered there.
/// `None` where all of the shot must be gone through.
pub(crate) async fn before(
    job: &OpenJob,
    (layer, index): (u8, u64),
    frames: Range<u64>,
    first: u64,
) -> Result<Option<(u64, Momentum)>, StoreError> {
    let own = read(job, (layer, index)).await?;
    if let Some(own) = own.filter(|own| frames.contains(&own.frame) && own.frame < first) {
        return Ok(Some((own.frame + 1, own.momentum)));
    }
    let Some(index) = index.checked_sub(1) else { return Ok(None) };
    let last = read(job, (layer, index)).await?;
    // It is of the segment's last frame, unless its worker died between the frame and this.
    let last = last.filter(|last| last.frame < frames.start);
    Ok(last.map(|last| (last.frame + 1, last.momentum)))
}

async fn read(job: &OpenJob, (layer, index): (u8, u64)) -> Result<Option<After>, StoreError> {
    let Some(key) = key(job, layer, index) else { return Ok(None) };
    let Some(bytes) = job.store.get(&key).await? else { return Ok(None) };
    let after = decode(&bytes, &job.record.spec_hash);
    if after.is_none() {
        tracing::warn!(key, "what the optimiser remembers cannot be read; frames are made again");
    }
    Ok(after)
}

/// Stores what the optimiser remembers after a frame of a segment.
///
/// # Errors
/// Storage failed for longer than its patience.
pub(crate) async fn keep(
    job: &OpenJob,
    (layer, index): (u8, u64),
    frame: u64,
    momentum: Momentum,
) -> Result<(), StoreError> {
    let Some(key) = key(job, layer, index) else { return Ok(()) };
    let Some(bytes) = encode(&After { frame, momentum }, &job.record.spec_hash) else {
        return Ok(());
    };
    job.store.replace(&key, bytes.into()).await
}

fn encode(after: &After, spec: &str) -> Option<Vec<u8>> {
    let slots = after.momentum.slots.iter().map(|(name, numbers)| {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        (name, Bytes::from(bytes), numbers.len())
    });
    let slots: Vec<_> = slots.collect();
    let views = slots.iter().map(|(name, bytes, len)| {
        let view = TensorView::new(Dtype::F32, vec![*len], bytes).ok()?;
        Some((name.as_str(), view))
    });
    let views: Option<Vec<_>> = views.collect();
    let notes = HashMap::from([
        ("frame".to_owned(), after.frame.to_string()),
        ("steps".to_owned(), after.momentum.steps.to_string()),
        ("spec".to_owned(), spec.to_owned()),
    ]);
    serialize(views?, Some(notes)).ok()
}

/// `None` for what is damaged or another job's.
fn decode(bytes: &[u8], spec: &str) -> Option<After> {
    let (_, head) = SafeTensors::read_metadata(bytes).ok()?;
    let notes = head.metadata().as_ref()?;
    if notes.get("spec").map(String::as_str) != Some(spec) {
        return None;
    }
    let tensors = SafeTensors::deserialize(bytes).ok()?;
    let mut slots = BTreeMap::new();
    for (name, tensor) in tensors.tensors() {
        if tensor.dtype() != Dtype::F32 {
            return None;
        }
        let (numbers, _) = tensor.data().as_chunks::<4>();
        slots.insert(name, numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect());
    }
    let steps = notes.get("steps")?.parse().ok()?;
    Some(After { frame: notes.get("frame")?.parse().ok()?, momentum: Momentum { steps, slots } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_read_back_to_the_bit() {
        let slots = [("mean", vec![1.5, -0.0, f32::MIN_POSITIVE]), ("square", vec![0.1, 3e9, 7.0])];
        let slots = slots.map(|(name, numbers)| (name.to_owned(), numbers)).into();
        let after = After { frame: 12, momentum: Momentum { steps: 99, slots } };
        let bytes = encode(&after, "abc").unwrap();
        assert_eq!(decode(&bytes, "abc"), Some(after));
        assert_eq!(decode(&bytes, "abd"), None, "another job's");
        assert_eq!(decode(&bytes[..bytes.len() - 1], "abc"), None, "cut");
        assert_eq!(decode(b"", "abc"), None);
    }
}
