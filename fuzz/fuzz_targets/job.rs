//! Job files in all three formats: the first byte chooses.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vqfarm_core::file::{Document, Limits};

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let file = ["job.toml", "job.yaml", "job.json"][usize::from(choice % 3)];
    let lines = |_: &str| Ok(bytes.to_vec());
    let job =
        Document::parse(file, bytes).and_then(|document| document.job(Limits::default(), lines));
    if let Ok(job) = job {
        let cells = job.cells().expect("a checked job has cells");
        cells.cell(0).expect("the first cell");
        cells.cell(cells.len() - 1).expect("the last cell");
    }
});
