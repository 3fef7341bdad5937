//! Checkpoints of a training to the model files of the repository, in float16.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use half::f16;
use tch::{Device, Kind, Tensor};
use vqfarm_weights::{Dtype, StateDict, TensorData};

use crate::models::{GENERATOR, JUDGE, PERCEPTOR};
use crate::train::params::{Params, Spec};
use crate::train::run;
use crate::train::vocabulary::Vocabulary;
use crate::train::{generator, layout, perceptor};

/// Entries of CLIP's own vocabulary.
const VOCAB_SIZE: i64 = 49_408;

/// Writes the models that have a directory in `work` (`generator`, `perceptor`, `judge`) into
/// `models`, under the bundled models' names.
///
/// # Errors
/// None has one; otherwise as [`generator`].
pub fn all(work: &Path, models: &Path) -> Result<()> {
    type Export = fn(&Path, &Path) -> Result<()>;
    let exports: [(&str, &str, Export); 3] = [
        ("generator", GENERATOR, generator),
        ("perceptor", PERCEPTOR, perceptor),
        ("judge", JUDGE, perceptor),
    ];
    let trained: Vec<_> = exports.iter().filter(|(name, ..)| work.join(name).is_dir()).collect();
    ensure!(!trained.is_empty(), "{} holds no training; train a model first", work.display());
    trained.iter().try_for_each(|(name, file, export)| export(&work.join(name), &models.join(file)))
}

/// Writes the generator trained in `work` as a VQGAN file.
///
/// # Errors
/// The checkpoint is missing, damaged or of another architecture; the file cannot be written.
pub fn generator(work: &Path, file: &Path) -> Result<()> {
    let checkpoint = Checkpoint::read(work)?;
    let config = generator::config();
    let mut state = checkpoint.weights(&layout::vqgan(&config))?;
    state.insert("quantize.embedding.weight", half(checkpoint.get("codebook.rows")?));
    let metadata = [("kind", "vqgan".into()), ("config", serde_json::to_string(&config)?)];
    write(file, metadata, checkpoint.step()?, &state)
}

/// Writes the perceptor trained in `work` as a CLIP file whose token table holds only the
/// rows of tokens that captions use; the others count as zero.
///
/// # Errors
/// As [`generator`].
pub fn perceptor(work: &Path, file: &Path) -> Result<()> {
    let checkpoint = Checkpoint::read(work)?;
    let vocabulary = Vocabulary::new();
    let mut config = perceptor::config(vocabulary.ids.len() as i64);
    let mut state = checkpoint.weights(&layout::clip(&config))?;
    let rows = state.remove("token_embedding.weight").context("a CLIP without tokens")?;
    state.insert("token_embedding.rows", rows);
    let index = TensorData {
        shape: vec![vocabulary.ids.len()],
        dtype: Dtype::I64,
        bytes: vocabulary.ids.iter().flat_map(|id| id.to_le_bytes()).collect(),
    };
    state.insert("token_embedding.index", index);
    config.vocab_size = VOCAB_SIZE;
    let metadata = [
        ("kind", "clip".to_owned()),
        ("config", serde_json::to_string(&config)?),
        ("vocab_size", VOCAB_SIZE.to_string()),
    ];
    write(file, metadata, checkpoint.step()?, &state)
}

struct Checkpoint(BTreeMap<String, Tensor>);

impl Checkpoint {
    fn read(work: &Path) -> Result<Self> {
        Ok(Self(run::read(&work.join("checkpoint.safetensors"))?.into_iter().collect()))
    }

    fn get(&self, name: &str) -> Result<&Tensor> {
        self.0.get(name).with_context(|| format!("the checkpoint has no `{name}`"))
    }

    fn step(&self) -> Result<i64> {
        Ok(self.get("step")?.int64_value(&[0]))
    }

    /// The running mean of the weights, by name.
    fn weights(&self, specs: &[Spec]) -> Result<StateDict> {
        let flat = self.get("average")?;
        let params = Params::start(specs, 0, Device::Cpu);
        ensure!(
            flat.size() == params.flat.size(),
            "the checkpoint has {} weights, the architecture {}",
            flat.numel(),
            params.flat.numel()
        );
        let tensors = params.with_values(flat).tensors;
        Ok(tensors.iter().map(|(name, t)| (name.clone(), half(t))).collect())
    }
}

fn half(t: &Tensor) -> TensorData {
    let t = t.detach().to_kind(Kind::Float).contiguous();
    let mut values = vec![0f32; t.numel()];
    let n = values.len();
    t.copy_data(&mut values, n);
    TensorData {
        shape: t.size().iter().map(|d| *d as usize).collect(),
        dtype: Dtype::F16,
        bytes: values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
    }
}

fn write<const N: usize>(
    file: &Path,
    metadata: [(&str, String); N],
    step: i64,
    state: &StateDict,
) -> Result<()> {
    let mut metadata: BTreeMap<String, String> =
        metadata.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    metadata.insert("source".into(), format!("vqfarm-demo train, {step} steps"));
    let out = File::create(file).with_context(|| format!("write {}", file.display()))?;
    vqfarm_weights::write_safetensors(BufWriter::new(out), &metadata, state)
        .with_context(|| format!("write {}", file.display()))?;
    println!("{}: {} tensors after {step} steps", file.display(), state.len());
    Ok(())
}
