//! `tokenizer.json`: texts and the tokens that CLIP's own tokenizer makes of them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tch::Tensor;
use vqfarm_engine::tokenizer;

use crate::report::Report;

#[derive(Deserialize)]
struct Case {
    text: String,
    tokens: Vec<i64>,
}

pub fn check(path: &Path, report: &mut Report) -> Result<()> {
    let text = std::fs::read_to_string(path)?;
    let cases: Vec<Case> = serde_json::from_str(&text).context("texts with their tokens")?;
    ensure!(!cases.is_empty(), "there is no text in it");
    for case in cases {
        let ours = tokenizer::encode(&case.text, case.tokens.len());
        let name = format!("{:?}", case.text.chars().take(24).collect::<String>());
        report.exact(name, &Tensor::from_slice(&ours.ids), &Tensor::from_slice(&case.tokens));
    }
    Ok(())
}
