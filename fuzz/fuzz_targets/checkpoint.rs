//! Any bytes as a model file, up to the checked model. Only errors may come of it.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use vqfarm_weights::{clip, read_bytes, vqgan};

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("fuzzed.bin");
    match read_bytes(path, bytes) {
        Ok(checkpoint) => {
            let total: usize = checkpoint.state.iter().map(|(_, t)| t.bytes.len()).sum();
            assert!(total <= 4 * bytes.len(), "{total} bytes out of {}", bytes.len());
            for (_, tensor) in &checkpoint.state {
                assert_eq!(tensor.to_f32().len(), tensor.numel());
            }
            let _ = vqgan::canonical(checkpoint.clone(), None);
            let _ = clip::canonical(checkpoint, None);
        }
        Err(error) => assert!(error.to_string().starts_with("fuzzed.bin: ")),
    }
});
