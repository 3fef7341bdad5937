//! `vqfarm models` as a person types it.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/tests/fixtures/files");

/// Standard output and error, and whether it succeeded.
fn models(dir: &Path, args: &[&str]) -> (bool, String, String) {
    let mut command = Command::cargo_bin("vqfarm").unwrap();
    command.arg("models").args(args).env("VQFARM_MODELS", dir);
    // None are bundled.
    let none = TempDir::new().unwrap();
    let output = command.env("VQFARM_BUNDLED_MODELS", none.path()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn file(name: &str) -> String {
    format!("{FILES}/{name}")
}

#[test]
fn a_file_is_imported_listed_and_shown() {
    let dir = TempDir::new().unwrap();
    let (ckpt, yaml) = (file("vqgan_vq_f4.lightning.ckpt"), file("vqgan_vq_f4.yaml"));
    let import = ["import", &ckpt, "--config", &yaml, "--name", "mine/f4", "--json"];
    let (ok, imported, stderr) = models(dir.path(), &import);
    assert!(ok, "{stderr}");
    let imported: Value = serde_json::from_str(&imported).unwrap();
    assert_eq!(imported["kind"], "vqgan");
    assert_eq!(imported["config"]["n_embed"], 64);
    assert!(Path::new(imported["path"].as_str().unwrap()).is_file());

    let (_, listed, _) = models(dir.path(), &["list", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap(), imported);
    let (_, listed, _) = models(dir.path(), &["list"]);
    assert_eq!(listed, "mine/f4  vqgan  f4, 64 codes of 16 channels, Vq\n");
    let (ok, shown, _) = models(dir.path(), &["show", "mine/f4"]);
    assert!(ok && shown.contains(imported["sha256"].as_str().unwrap()), "{shown}");
}

#[test]
fn mistakes_are_answered_with_the_file_and_a_remedy() {
    let dir = TempDir::new().unwrap();
    let yaml = file("vqgan_vq_f4.yaml");
    let (ok, stdout, stderr) = models(dir.path(), &["import", &yaml, "--name", "x"]);
    assert!(!ok && stdout.is_empty());
    assert!(
        stderr.contains("vqgan_vq_f4.yaml") && stderr.contains("expected safetensors"),
        "{stderr}"
    );
    let (ok, _, stderr) = models(dir.path(), &["show", "ViT-B/32"]);
    assert!(!ok && stderr.contains("vqfarm models pull ViT-B/32"), "{stderr}");
    let (ok, _, stderr) = models(dir.path(), &["pull", "nonesuch"]);
    assert!(!ok && stderr.contains("ViT-B/32") && stderr.contains("import FILE"), "{stderr}");
    let (ok, stdout, stderr) = models(dir.path(), &["list"]);
    assert!(ok && stdout.is_empty() && stderr.contains("no models yet"), "{stderr}");
}

#[test]
fn the_published_models_are_listed() {
    let dir = TempDir::new().unwrap();
    let (ok, listed, _) = models(dir.path(), &["list", "--published"]);
    assert!(ok && listed.contains("imagenet-f16-16384") && listed.contains("RN50x64"), "{listed}");
}
