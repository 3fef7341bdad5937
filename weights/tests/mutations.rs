//! Real files cut short and altered: readers answer with an error that names the file, or with the
//! weights unharmed where the format has checksums; they never panic.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use vqfarm_weights::{Checkpoint, Result, read_bytes};

const FILES: [&str; 7] = [
    "clip_rn.openai.pt",
    "clip_vit.openai.pt",
    "clip_vit.open_clip.safetensors",
    "clip_vit.hf/model.safetensors",
    "vqgan_vq_f4.lightning.ckpt",
    "vqgan_vq_f4.lightning-legacy.ckpt",
    "vqgan_vq_f4.net2net.ckpt",
];

fn load(name: &str) -> Vec<u8> {
    fs::read(common::files(name)).unwrap()
}

fn read(name: &str, bytes: &[u8]) -> Result<Checkpoint> {
    let result = read_bytes(Path::new(name), bytes);
    if let Err(error) = &result {
        assert!(error.to_string().starts_with(name), "does not name the file: {error}");
    }
    result
}

/// Positions that are spread evenly, by a linear congruence of full period.
fn spread(count: u64, below: usize) -> impl Iterator<Item = usize> {
    let mut x = 0u64;
    (0..count).map(move |_| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(x) * below as u128) >> 64) as usize
    })
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    for name in FILES {
        let whole = load(name);
        let near_ends = (0..80).chain(whole.len() - 80..whole.len());
        for len in near_ends.chain(spread(60, whole.len())) {
            assert!(read(name, &whole[..len]).is_err(), "{name} cut to {len} bytes");
        }
    }
}

/// The regions that describe the tensors: heads, pickles, directories. Elsewhere lie numbers.
fn structure(name: &str, bytes: &[u8]) -> Vec<usize> {
    let (head, tail) = match name {
        name if name.ends_with(".safetensors") => (12_000, 0),
        name if name.contains("legacy") => (28_300, 0),
        _ => (24_000, 20_000),
    };
    (0..head).chain(bytes.len() - tail..bytes.len()).collect()
}

#[test]
fn a_flipped_bit_never_panics_and_archives_notice_it() {
    for name in FILES {
        let whole = load(name);
        let expected = read(name, &whole).unwrap().state;
        let structure = structure(name, &whole);
        let in_structure = spread(350, structure.len()).map(|i| structure[i]);
        let positions: Vec<usize> = in_structure.chain(spread(50, whole.len())).collect();
        let checksummed =
            name.ends_with(".pt") || (name.ends_with(".ckpt") && !name.contains("legacy"));
        let mut refused = 0;
        let mut bytes = whole;
        for (i, at) in positions.into_iter().enumerate() {
            let bit = 1 << (i % 8);
            bytes[at] ^= bit;
            match read(name, &bytes) {
                Ok(found) if checksummed => assert_eq!(found.state, expected, "{name} byte {at}"),
                Ok(_) => {}
                Err(_) => refused += 1,
            }
            bytes[at] ^= bit;
        }
        assert!(refused > 50, "only {refused} flips in {name} were noticed");
    }
}

#[test]
fn runs_of_other_bytes_never_panic() {
    for name in FILES {
        let whole = load(name);
        let structure = structure(name, &whole);
        for (i, at) in spread(120, structure.len()).enumerate() {
            let mut bytes = whole.clone();
            let fill = [0x00, 0xff, 0x7f, b'(', b'R', 0x80][i % 6];
            let from = structure[at];
            let to = (from + 1 + i % 9).min(bytes.len());
            bytes[from..to].fill(fill);
            let _ = read(name, &bytes);
        }
    }
}
