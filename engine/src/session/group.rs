//! Pictures in lockstep: one computation for all of them.

use tch::{Kind, Tensor};
use vqfarm_core::render::{InitWeightForm, RenderSettings};
use vqfarm_core::rng::Key;
use vqfarm_weights::memory::Thrift;

use super::ahead::{Ahead, Row};
use super::decoding::Decoding;
use super::saved::SavedPicture;
use super::{Losses, Stage};
use crate::clamp::masked_gradient;
use crate::cutouts::ahead::Numbers;
use crate::error::{EngineError, Result};
use crate::guard::guard;
use crate::init;
use crate::loss::{Targets, fading, init_term};
use crate::mask::latent_mask;
use crate::models::Models;
use crate::number::Number;
use crate::optim::{Momentum, Optimizer, Rates};
use crate::perception::{Eye, Pieces};
use crate::picture::Picture;
use crate::prompts::Script;

pub(super) struct Group {
    /// The keys of the pictures' random draws, but for the iteration.
    keys: Vec<Key>,
    scripts: Vec<Script>,
    /// Latents [B, e, h, w].
    z: Tensor,
    /// Where they started.
    start: Tensor,
    /// Where they may move, [B, 1, h, w] in [0, 1]; everywhere when left out.
    mask: Option<Tensor>,
    /// [B]; nothing pulls when left out.
    init_weight: Option<Tensor>,
    init_form: InitWeightForm,
    optimizer: Optimizer,
    /// How frugal with memory; what comes out is the same.
    thrift: Thrift,
    /// The phase of each picture that `targets` were made for, and the targets by perceptor.
    phases: Vec<usize>,
    targets: Vec<Targets>,
    ahead: Option<Ahead>,
    /// Why the host makes draws that the device should.
    undrawn: Option<String>,
    last: Option<Last>,
}

/// What an iteration has of its own.
struct Now {
    draws: Draws,
    rates: Rates<Number>,
    fading: Number,
}

/// Where an iteration's cutouts come from.
enum Draws {
    /// Drawn as they are needed, by each picture's key.
    Keys(Vec<Key>),
    /// Drawn ahead.
    Numbers(Numbers, Tensor),
}

impl From<Row> for Now {
    fn from(row: Row) -> Self {
        let draws = Draws::Numbers(row.cuts, row.iteration);
        Self { draws, rates: row.rates, fading: row.fading }
    }
}

/// What the last iteration found; it may still be on its way on the device.
struct Last {
    /// [B]
    init: Option<Tensor>,
    /// By perceptor, [B, P].
    prompts: Vec<Tensor>,
    gradient: Tensor,
}

impl Group {
    pub fn new(
        models: &Models,
        eyes: &[Eye],
        settings: &RenderSettings,
        pictures: &[Picture],
        size: [u32; 2],
    ) -> Result<Self> {
        let device = models.device();
        let generator = &*models.generator;
        let keys: Vec<Key> = pictures.iter().map(Picture::key).collect();
        let ahead = models.options.ahead.unwrap_or(device.is_cuda());
        let sides = [i64::from(size[1]), i64::from(size[0])];
        let mut ahead = guard(|| ahead.then(|| Ahead::new(eyes, &keys, sides, device)).flatten())?;
        let undrawn = match &mut ahead {
            Some(ahead) if device.is_cuda() && models.options.draws != Some(false) => {
                ahead.draw_on_device().err()
            }
            _ => None,
        };
        let scripts: Vec<_> = pictures
            .iter()
            .map(|picture| Script::new(models, eyes, picture, size))
            .collect::<Result<_>>()?;
        let starts: Vec<_> = pictures
            .iter()
            .map(|picture| {
                guard(|| init::start(generator, picture, size, device)).and_then(|start| start)
            })
            .collect::<Result<_>>()?;
        let start = Tensor::f_cat(&starts, 0)?;
        let weights: Vec<f32> = pictures.iter().map(|p| p.settings.init_weight as f32).collect();
        let pulls = weights.iter().any(|w| *w != 0.0);
        let mut group = Self {
            keys,
            ahead,
            undrawn,
            scripts,
            z: start.copy(),
            mask: masks(pictures, &start)?,
            init_weight: pulls.then(|| Tensor::from_slice(&weights).to_device(device)),
            init_form: settings.init_weight_form,
            optimizer: Optimizer::new(settings.optimizer, settings.step_size, &start),
            thrift: Thrift::default(),
            start,
            phases: Vec::new(),
            targets: Vec::new(),
            last: None,
        };
        let anew = Momentum::default();
        let momenta: Vec<_> =
            pictures.iter().map(|p| p.momentum.as_ref().unwrap_or(&anew)).collect();
        group.optimizer.carry(&momenta)?;
        group.enter_phases(models, 0)?;
        Ok(group)
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn set_thrift(&mut self, thrift: Thrift) {
        self.thrift = thrift;
    }

    pub fn scripts(&self) -> impl Iterator<Item = &Script> {
        self.scripts.iter()
    }

    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let texts = self.scripts.iter().flat_map(|script| &script.truncated);
        let undrawn = self.undrawn.iter();
        texts
            .map(|text| format!("prompt: only the beginning is read of {text:?}"))
            .chain(undrawn.map(|why| format!("the host draws for the cutouts: {why}")))
    }

    /// One iteration.
    pub fn step(
        &mut self,
        models: &Models,
        eyes: &[Eye],
        iteration: u32,
        clock: &mut dyn FnMut(Stage),
    ) -> Result<()> {
        self.prepare(models, iteration)?;
        match self.is_ahead() {
            true => self.step_ahead(models, eyes, clock),
            false => {
                let keys = self.keys.iter().map(|key| key.iteration(iteration)).collect();
                let now = Now {
                    draws: Draws::Keys(keys),
                    rates: self.optimizer.rates(self.optimizer.steps()).map(Number::Host),
                    fading: Number::Host(fading(iteration)),
                };
                self.iterate(models, eyes, now, clock);
            }
        }
        self.count();
        Ok(())
    }

    /// Whether [`Group::step_ahead`] can be called.
    pub fn is_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    /// Brings to the device what this iteration needs. Says whether the targets are others than the
    /// last one's.
    pub fn prepare(&mut self, models: &Models, iteration: u32) -> Result<bool> {
        let entered = self.enter_phases(models, iteration)?;
        if let Some(ahead) = &mut self.ahead {
            let (optimizer, steps) = (&self.optimizer, self.optimizer.steps());
            let scalars = |i: u32| (optimizer.rates(steps + (i - iteration)), fading(i));
            ahead.prepare(iteration, scalars)?;
        }
        Ok(entered)
    }

    /// The iteration that was prepared, by what lies on the device alone: the host neither waits
    /// nor copies, and the same memory holds the state afterwards.
    pub fn step_ahead(&mut self, models: &Models, eyes: &[Eye], clock: &mut dyn FnMut(Stage)) {
        let places = self.state();
        let Some(row) = self.ahead.as_ref().map(Ahead::read) else { return };
        self.iterate(models, eyes, row.into(), clock);
        if let Some(ahead) = &mut self.ahead {
            ahead.advance();
        }
        for (mut place, now) in places.into_iter().zip(self.state_mut()) {
            if place.data_ptr() != now.data_ptr() {
                place.copy_(now);
                *now = place;
            }
        }
    }

    /// Counts an iteration that was made.
    pub fn count(&mut self) {
        self.optimizer.count();
        if let Some(ahead) = &mut self.ahead {
            ahead.count();
        }
    }

    /// What an iteration goes on from.
    pub fn state(&self) -> Vec<Tensor> {
        let slots = self.optimizer.state().map(|(_, slot)| slot);
        let counter = self.ahead.as_ref().map(Ahead::place);
        std::iter::once(&self.z).chain(slots).chain(counter).map(Tensor::shallow_clone).collect()
    }

    /// The same but for the counter.
    fn state_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        std::iter::once(&mut self.z).chain(self.optimizer.slots_mut())
    }

    /// In NR's order: synthesise, look, go back, step, clamp.
    fn iterate(
        &mut self,
        models: &Models,
        eyes: &[Eye],
        mut now: Now,
        clock: &mut dyn FnMut(Stage),
    ) {
        let z = self.z.detach().set_requires_grad(true);
        let z_q = models.generator.quantize(&z);
        let decoding = Decoding::new(&*models.generator, z_q, self.thrift.decoder);
        let image = decoding.raw().detach().clamp(0.0, 1.0).set_requires_grad(true);
        clock(Stage::Synthesise);

        let prompts = self.look(models, eyes, &image, &mut now.draws, clock);
        let gradient = masked_gradient(decoding.raw(), &image.grad(), 0.0, 1.0);
        drop(image);
        decoding.backward(gradient);
        clock(Stage::SynthesiseBack);

        let init = self.init_weight.as_ref().map(|weight| {
            let term = init_term(self.init_form, &z, &self.start, &now.fading) * weight;
            term.sum(Kind::Float).backward();
            term.detach()
        });
        let gradient = z.grad();
        self.update(models, &now.rates, &gradient);
        clock(Stage::Update);
        self.last = Some(Last { init, prompts, gradient });
    }

    /// The cutouts of the next eye.
    fn cut(&self, number: usize, eye: &Eye, image: &Tensor, draws: &mut Draws) -> Pieces {
        match (draws, &self.ahead) {
            (Draws::Numbers(numbers, iteration), Some(ahead)) => {
                eye.pieces(ahead.cuts(number).cut(image, numbers, iteration))
            }
            (Draws::Keys(keys), _) => eye.cut(image, keys),
            (Draws::Numbers(..), None) => eye.cut(image, &[]),
        }
    }

    /// Leaves the perceptors' gradient on the image and returns the losses.
    fn look(
        &self,
        models: &Models,
        eyes: &[Eye],
        image: &Tensor,
        draws: &mut Draws,
        clock: &mut dyn FnMut(Stage),
    ) -> Vec<Tensor> {
        let mut losses: Vec<_> = self.targets.iter().map(|_| Tensor::new()).collect();
        for (number, eye) in eyes.iter().enumerate() {
            let mut cut = self.cut(number, eye, image, draws);
            clock(Stage::Cut);
            for view in eye.views() {
                let targets = &self.targets[view.perceptor];
                let at_once = self.thrift.cutouts_at_once;
                losses[view.perceptor] = eye.look(models, view, &mut cut, targets, at_once, clock);
            }
            cut.backward();
            clock(Stage::CutBack);
        }
        losses
    }

    /// Steps against the gradient and clamps to the codebook's range.
    fn update(&mut self, models: &Models, rates: &Rates<Number>, gradient: &Tensor) {
        let (low, high) = models.generator.bounds();
        match &self.mask {
            None => {
                self.optimizer.step_at(rates, &mut self.z, gradient);
                self.z = self.z.maximum(low).minimum(high);
            }
            Some(mask) => {
                let before = self.z.copy();
                self.optimizer.step_at(rates, &mut self.z, &(gradient * mask));
                // Optimisers may move what has no gradient (weight decay); interpolating is
                // exact at both ends.
                self.z = before.lerp_tensor(&self.z.maximum(low).minimum(high), mask);
            }
        }
    }

    /// Makes the targets that this iteration steers towards, if the last one's are others; says so.
    fn enter_phases(&mut self, models: &Models, iteration: u32) -> Result<bool> {
        let phases: Vec<_> = self.scripts.iter().map(|script| script.phase(iteration)).collect();
        if phases == self.phases {
            return Ok(false);
        }
        self.targets.clear();
        for perceptor in 0..models.perceptors.len() {
            let scripts = self.scripts.iter().zip(&phases);
            let targets: Vec<_> =
                scripts.map(|(script, phase)| script.targets(*phase, perceptor)).collect();
            self.targets.push(Targets::new(&targets)?);
        }
        self.phases = phases;
        Ok(true)
    }

    pub fn images(&self, models: &Models) -> Tensor {
        tch::no_grad(|| {
            let z_q = models.generator.rows(&models.generator.nearest(&self.z));
            models.generator.decode(&z_q).clamp(0.0, 1.0)
        })
    }

    pub fn latents(&self) -> &Tensor {
        &self.z
    }

    pub fn gradients(&self) -> Option<&Tensor> {
        self.last.as_ref().map(|last| &last.gradient)
    }

    pub fn losses(&self) -> Result<Vec<Losses>> {
        let Some(last) = &self.last else { return Ok(Vec::new()) };
        let init = match &last.init {
            Some(init) => Vec::<f64>::try_from(init.to_kind(Kind::Double))?,
            None => vec![0.0; self.len()],
        };
        let rows = |losses: &Tensor| Vec::<Vec<f64>>::try_from(losses.to_kind(Kind::Double));
        let prompts = last.prompts.iter().map(rows).collect::<Result<Vec<_>, _>>()?;
        let of = |(b, init): (usize, f64)| {
            // A picture with fewer prompts than its neighbours has empty columns at the end.
            let own = |p: usize| self.scripts[b].targets(self.phases[b], p).len();
            let prompts = prompts.iter().enumerate();
            Losses { init, prompts: prompts.map(|(p, rows)| rows[b][..own(p)].to_vec()).collect() }
        };
        Ok(init.into_iter().enumerate().map(of).collect())
    }

    pub fn momenta(&self) -> Result<Vec<Momentum>> {
        (0..self.len()).map(|b| self.optimizer.momentum(b as i64)).collect()
    }

    pub fn save(&self, iteration: u32) -> Vec<SavedPicture> {
        let own = |tensor: &Tensor, b: usize| tensor.narrow(0, b as i64, 1).copy();
        let save = |b| {
            let mut tensors = vec![("z", own(&self.z, b)), ("start", own(&self.start, b))];
            tensors.extend(self.optimizer.state().map(|(name, slot)| (name, own(slot, b))));
            let tensors = tensors.into_iter().map(|(name, t)| (name.to_owned(), t)).collect();
            SavedPicture { iteration, steps: self.optimizer.steps(), tensors }
        };
        (0..self.len()).map(save).collect()
    }

    pub fn restore(&mut self, saved: &[SavedPicture]) -> Result<()> {
        let device = self.z.device();
        let gather = |name: &str| -> Option<Tensor> {
            let parts: Option<Vec<_>> = saved.iter().map(|s| s.tensors.get(name)).collect();
            Tensor::f_cat(&parts?, 0).ok().map(|t| t.to_device(device))
        };
        let latent = |name: &str| {
            gather(name).filter(|t| t.size() == self.z.size()).ok_or_else(|| {
                EngineError::State(format!("tensor `{name}` of shape {:?}", self.z.size()))
            })
        };
        let (z, start) = (latent("z")?, latent("start")?);
        let steps = saved.first().map_or(0, |s| s.steps);
        self.optimizer.restore(steps, gather)?;
        (self.z, self.start) = (z, start);
        self.last = None;
        Ok(())
    }
}

/// The masks of a batch, [B, 1, h, w]: ones where a picture has none.
fn masks(pictures: &[Picture], z: &Tensor) -> Result<Option<Tensor>> {
    if pictures.iter().all(|picture| picture.mask.is_none()) {
        return Ok(None);
    }
    let (_, _, h, w) = z.size4()?;
    let own = |picture: &Picture| match &picture.mask {
        Some(mask) => latent_mask(mask, h, w),
        None => Ok(Tensor::ones([1, 1, h, w], (Kind::Float, tch::Device::Cpu))),
    };
    let masks = pictures.iter().map(own).collect::<Result<Vec<_>>>()?;
    Ok(Some(Tensor::f_cat(&masks, 0)?.to_device(z.device())))
}
