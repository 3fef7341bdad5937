//! What both trainers share: limits, checkpoints, interruption, the log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tch::{Device, Kind, Tensor};
use vqfarm_engine::net::to_tensors;

/// Options of a training run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where checkpoints live; a run continues from the one it finds there.
    pub work: PathBuf,
    pub device: Device,
    /// What the networks compute in; weights and losses stay float32.
    pub kind: Kind,
    /// Names the weights at the start and every scene that is drawn.
    pub seed: u64,
    /// The learning rate's schedule ends here.
    pub steps: i64,
    pub batch: i64,
    /// Peak of the learning rate.
    pub rate: f64,
    /// Stop, resumably, after this time.
    pub limit: Duration,
    /// Threads that draw scenes.
    pub threads: u64,
    /// A model's file whose weights a fresh run begins with.
    pub init: Option<PathBuf>,
    /// Length of the largest change of a cutout, in pixels of [0, 1], that a perceptor learns
    /// to withstand; 0 for none.
    pub radius: f64,
    /// A generator's file: what it can be driven to show, a perceptor learns to refuse.
    pub generator: Option<PathBuf>,
}

impl Default for Options {
    /// A run that never ends, in the directory it is started in.
    fn default() -> Self {
        Self {
            work: PathBuf::from("."),
            device: Device::Cpu,
            kind: Kind::Float,
            seed: 1,
            steps: i64::MAX,
            batch: 64,
            rate: 1e-3,
            limit: Duration::MAX,
            threads: 1,
            init: None,
            radius: 4.0,
            generator: None,
        }
    }
}

/// One run of a trainer, from a fresh start or a checkpoint.
pub struct Run {
    pub options: Options,
    pub step: i64,
    started: Instant,
    saved: Instant,
    first: i64,
    stop: Arc<AtomicBool>,
}

const SAVE_EVERY: Duration = Duration::from_secs(180);

impl Run {
    /// # Errors
    /// The work directory cannot be made, or a signal handler is already there.
    pub fn new(options: Options) -> Result<Self> {
        std::fs::create_dir_all(&options.work)
            .with_context(|| format!("make {}", options.work.display()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
            .context("listen for interruption")?;
        let now = Instant::now();
        Ok(Self { options, step: 0, started: now, saved: now, first: 0, stop })
    }

    fn file(&self) -> PathBuf {
        self.options.work.join("checkpoint.safetensors")
    }

    /// Fills `state` (name, tensor) from the checkpoint, if there is one.
    ///
    /// # Errors
    /// The checkpoint is unreadable or of another architecture.
    pub fn resume(&mut self, state: &[(&str, &Tensor)]) -> Result<bool> {
        let file = self.file();
        if !file.exists() {
            return Ok(false);
        }
        let found = read(&file)?;
        let of = |name: &str| {
            found
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, t)| t)
                .with_context(|| format!("{} has no `{name}`", file.display()))
        };
        for (name, tensor) in state {
            let saved = of(name)?;
            ensure!(
                saved.size() == tensor.size(),
                "{}: `{name}` has shape {:?}, this program makes {:?}; train in another --work",
                file.display(),
                saved.size(),
                tensor.size()
            );
            tch::no_grad(|| tensor.shallow_clone().copy_(saved));
        }
        self.step = of("step")?.int64_value(&[0]);
        self.first = self.step;
        Ok(true)
    }

    /// Whether to go on after a step; saves every few minutes and at the end.
    ///
    /// # Errors
    /// The checkpoint cannot be written.
    pub fn proceed(&mut self, state: &[(&str, &Tensor)]) -> Result<bool> {
        self.step += 1;
        let over = self.step >= self.options.steps
            || self.started.elapsed() >= self.options.limit
            || self.stop.load(Ordering::Relaxed);
        if over || self.saved.elapsed() >= SAVE_EVERY {
            self.save(state)?;
            self.saved = Instant::now();
        }
        Ok(!over)
    }

    fn save(&self, state: &[(&str, &Tensor)]) -> Result<()> {
        let step = Tensor::from_slice(&[self.step]);
        let mut all = vec![("step", step)];
        all.extend(state.iter().map(|(n, t)| (*n, t.to_device(Device::Cpu).contiguous())));
        let file = self.file();
        let fresh = file.with_extension("new");
        Tensor::write_safetensors(&all, &fresh)
            .and_then(|()| Ok(std::fs::rename(&fresh, &file)?))
            .with_context(|| format!("write {}", file.display()))
    }

    /// Steps a second since this run began.
    pub fn pace(&self) -> f64 {
        (self.step - self.first) as f64 / self.started.elapsed().as_secs_f64()
    }
}

/// The weights of a model file under its own names, float32.
///
/// # Errors
/// The file is missing or damaged.
pub fn weights(file: &Path, device: Device) -> Result<BTreeMap<String, Tensor>> {
    Ok(to_tensors(&vqfarm_weights::read(file)?.state, device)?)
}

/// All tensors of a checkpoint.
///
/// # Errors
/// The file is missing or damaged.
pub fn read(file: &Path) -> Result<Vec<(String, Tensor)>> {
    Tensor::read_safetensors(file).with_context(|| format!("read {}", file.display()))
}
