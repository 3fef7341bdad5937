//! The library of models on disk.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use vqfarm_weights::library::{Config, Library, ModelName};
use vqfarm_weights::{clip, read, vqgan};

fn name(name: &str) -> ModelName {
    ModelName::new(name).unwrap()
}

#[test]
fn imported_weights_are_the_same_and_need_no_other_file() {
    let dir = TempDir::new().unwrap();
    let library = Library::at(dir.path(), None);
    let file = common::files("vqgan_vq_f4.net2net.ckpt");
    let yaml = common::files("vqgan_vq_f4.net2net.yaml");
    let entry = library.import(&file, Some(&yaml), &name("f4")).unwrap();
    assert!(entry.verify().unwrap() && entry.record.assumed.is_empty());
    let stored = vqgan::canonical(read(&entry.path).unwrap(), None).unwrap();
    assert_eq!(Config::Vqgan(stored.config), entry.record.config);
    let original = vqgan::canonical(read(&file).unwrap(), None).unwrap();
    assert_eq!(stored.state, original.state);

    let clip = library.import(&common::files("clip_vit.hf"), None, &name("ViT-B/32")).unwrap();
    let stored = clip::canonical(read(&clip.path).unwrap(), None).unwrap();
    assert_eq!(stored.config.transformer_heads, 4, "from config.json");
    assert_eq!(library.list().unwrap(), [clip.clone(), entry]);
    assert_eq!(library.open("ViT-B/32").unwrap(), clip);
    // Nothing is left lying about.
    assert!(
        fs::read_dir(dir.path())
            .unwrap()
            .all(|file| { !file.unwrap().file_name().to_string_lossy().ends_with(".tmp") })
    );
}

#[test]
fn equal_weights_are_stored_once_whatever_file_they_came_in() {
    let dir = TempDir::new().unwrap();
    let library = Library::at(dir.path(), None);
    let yaml = common::files("vqgan_vq_f4.yaml");
    let import = |file: &str, as_name: &str| {
        library.import(&common::files(file), Some(&yaml), &name(as_name)).unwrap().sha256
    };
    let hash = import("vqgan_vq_f4.lightning.ckpt", "new");
    assert_eq!(import("vqgan_vq_f4.lightning-legacy.ckpt", "old"), hash);
    assert_eq!(library.list().unwrap().len(), 2);
    let weights = fs::read_dir(dir.path()).unwrap().filter(|file| {
        file.as_ref().unwrap().path().extension().is_some_and(|ext| ext == "safetensors")
    });
    assert_eq!(weights.count(), 1);
    // A name can go over to other weights.
    let clip = library.import(&common::files("clip_rn.openai.pt"), None, &name("old")).unwrap();
    assert_ne!(clip.sha256, hash);
    assert_eq!(library.open("old").unwrap().sha256, clip.sha256);
}

#[test]
fn a_failed_import_leaves_nothing_and_names_the_file() {
    let dir = TempDir::new().unwrap();
    let library = Library::at(dir.path(), None);
    let file = dir.path().join("evil.ckpt");
    fs::write(&file, "cos\nsystem\n(S'id'\ntR.").unwrap();
    let message = library.import(&file, None, &name("evil")).unwrap_err().to_string();
    assert!(message.contains("evil.ckpt") && message.contains("os.system"), "{message}");
    let yaml = common::files("vqgan_gumbel_f8.yaml");
    let file = common::files("vqgan_vq_f4.lightning.ckpt");
    let message = library.import(&file, Some(&yaml), &name("x")).unwrap_err().to_string();
    assert!(message.contains("lightning.ckpt") && message.contains("quantizer"), "{message}");
    let message =
        library.import(Path::new("no/such.ckpt"), None, &name("x")).unwrap_err().to_string();
    assert!(message.starts_with("no/such.ckpt: "), "{message}");
    assert_eq!(library.list().unwrap(), []);
}

#[test]
fn an_unknown_name_is_answered_with_what_to_do() {
    let dir = TempDir::new().unwrap();
    let library = Library::at(dir.path(), None);
    let said = |asked: &str| library.open(asked).unwrap_err().to_string();
    assert!(said("vit-b/32").contains("vqfarm models pull vit-b/32"), "{}", said("vit-b/32"));
    assert!(said("mine").contains("vqfarm models import"), "{}", said("mine"));
    assert!(said("../x").contains("model name"), "{}", said("../x"));
    library.import(&common::files("clip_vit.openai.pt"), None, &name("tiny")).unwrap();
    assert!(said("tinny").contains("there are: tiny"), "{}", said("tinny"));
}

#[test]
fn bundled_models_describe_themselves_and_are_hidden_by_imported_ones() {
    let (dir, bundle) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let library = Library::at(dir.path(), Some(bundle.path().to_owned()));
    assert_eq!(library.list().unwrap(), []);
    for (stem, file) in [("demo-generator", "vqgan_vq_f4"), ("demo-perceptor", "clip_vit")] {
        let from = common::fixture(&format!("{file}.safetensors"));
        fs::copy(from, bundle.path().join(format!("{stem}.safetensors"))).unwrap();
    }
    let entry = library.open("demo-generator").unwrap();
    assert!(entry.bundled && entry.verify().unwrap());
    assert!(matches!(entry.record.config, Config::Vqgan(_)));
    vqgan::canonical(read(&entry.path).unwrap(), None).unwrap();
    assert_eq!(library.list().unwrap().len(), 2);
    let mine = common::files("clip_vit.openai.pt");
    library.import(&mine, None, &name("demo-perceptor")).unwrap();
    assert!(!library.open("demo-perceptor").unwrap().bundled);
    assert_eq!(library.list().unwrap().len(), 2);
}

#[test]
fn damaged_records_are_named() {
    let dir = TempDir::new().unwrap();
    let library = Library::at(dir.path(), None);
    let entry = library.import(&common::files("clip_vit.openai.pt"), None, &name("tiny")).unwrap();
    let path = dir.path().join("names/tiny.json");
    for text in
        ["{", r#"{"name":"tiny","sha256":"../../etc/passwd"}"#, r#"{"name":"../x","sha256":""}"#]
    {
        fs::write(&path, text).unwrap();
        library.open("tiny").unwrap_err();
    }
    let text = format!(r#"{{"name":"tiny","sha256":"{}"}}"#, entry.sha256);
    fs::write(&path, text).unwrap();
    fs::remove_file(&entry.path).unwrap();
    let message = library.open("tiny").unwrap_err().to_string();
    assert!(message.contains("import the model again"), "{message}");
}
