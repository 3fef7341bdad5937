//! How far an image is from what the prompts ask for, and from where it started.

use tch::{Kind, Tensor};
use vqfarm_core::render::InitWeightForm;

use crate::error::{EngineError, Result};
use crate::number::Number;

/// One prompt as a perceptor sees it.
#[derive(Debug)]
pub struct Target {
    /// Features [E, d], of any length; an image prompt has one row for each of its cutouts.
    pub embeddings: Tensor,
    /// Negative pushes away.
    pub weight: f64,
    /// The loss pulls no further below this signed distance; no limit when left out.
    pub stop: Option<f64>,
}

impl Target {
    /// The same target for another phase.
    pub fn share(&self) -> Self {
        Self { embeddings: self.embeddings.shallow_clone(), ..*self }
    }

    fn rows(&self) -> i64 {
        self.embeddings.size().first().copied().unwrap_or(0)
    }
}

/// The prompts of a batch of pictures for one perceptor, laid out for one computation:
/// every picture has as many rows as the one with the most, the surplus weighing nothing.
#[derive(Debug)]
pub struct Targets {
    /// Unit rows [B, 1, T, d].
    rows: Tensor,
    /// Sign of the weight [B, 1, T].
    sign: Tensor,
    /// Signed distance below which nothing pulls [B, 1, T].
    stop: Tensor,
    /// |weight| / E where a row belongs to a prompt, else 0: [B, T, P].
    share: Tensor,
}

impl Targets {
    /// Lays out `pictures[b][p]`. All embeddings must be [E, d] with one d, on one device;
    /// a picture without prompts has no loss.
    pub fn new(pictures: &[&[Target]]) -> Result<Self> {
        let all = || pictures.iter().copied().flatten();
        let Some(width) = all().map(|t| t.embeddings.size()[1]).next() else {
            return Err(setting("prompt", "no picture of the batch has a prompt"));
        };
        let device = all().map(|t| t.embeddings.device()).next().unwrap_or(tch::Device::Cpu);
        let most = pictures.iter().map(|p| p.iter().map(Target::rows).sum()).max().unwrap_or(0);
        let prompts = pictures.iter().map(|p| p.len()).max().unwrap_or(0);

        // Padding is a unit row: its distance is finite, so that 0 times it is 0.
        let padding = Tensor::zeros([1, width], (Kind::Float, device));
        let _ = padding.narrow(1, 0, 1).fill_(1.0);

        let mut rows = Vec::with_capacity(pictures.len());
        let (mut sign, mut stop, mut share) = (Vec::new(), Vec::new(), Vec::new());
        for picture in pictures {
            let mut own = Vec::new();
            // From the last to the first, as the originals' gradients of the features add up.
            for (p, target) in picture.iter().enumerate().rev() {
                own.push(unit(&target.embeddings.to_kind(Kind::Float)));
                for _ in 0..target.rows() {
                    sign.push(signum(target.weight));
                    stop.push(target.stop.unwrap_or(f64::NEG_INFINITY) as f32);
                    let part = (target.weight.abs() / target.rows() as f64) as f32;
                    share.extend((0..prompts).map(|q| if q == p { part } else { 0.0 }));
                }
            }
            let padded = most - picture.iter().map(Target::rows).sum::<i64>();
            if padded > 0 {
                own.push(padding.expand([padded, width], false));
                for _ in 0..padded {
                    sign.push(0.0);
                    stop.push(f32::NEG_INFINITY);
                    share.extend(std::iter::repeat_n(0.0, prompts));
                }
            }
            rows.push(Tensor::f_cat(&own, 0)?);
        }
        let (b, t) = (pictures.len() as i64, most);
        let table = |values: &[f32], shape: &[i64]| -> Result<Tensor> {
            Ok(Tensor::from_slice(values).f_view(shape)?.to_device(device))
        };
        Ok(Self {
            rows: Tensor::f_stack(&rows, 0)?.unsqueeze(1),
            sign: table(&sign, &[b, 1, t])?,
            stop: table(&stop, &[b, 1, t])?,
            share: table(&share, &[b, t, prompts as i64])?,
        })
    }

    /// Losses [B, P] of image features [B, N, d]: for each prompt |w| times the mean, over
    /// cutouts and embeddings, of the signed spherical distance. Its gradient is that of
    /// max(distance, stop), its value that of the distance (NR's `Prompt`).
    ///
    /// Each cutout pulls by itself, also at its stop: where `features` are those of some cutouts
    /// out of `count`, this is their part, and the parts add up to the losses.
    pub fn losses(&self, features: &Tensor, count: i64) -> Tensor {
        // Each row has its own copy of the features: gradients of different prompts then meet
        // where the originals' do, and round alike.
        let rows = self.rows.size()[2];
        let features = features.unsqueeze(2).expand([-1, -1, rows, -1], false);
        let distance = spherical_distance(&unit(&features), &self.rows) * &self.sign;
        let limited = distance.maximum(&self.stop);
        let pull = distance.detach() + (&limited - limited.detach());
        let mean = pull.sum_dim_intlist(1, false, Kind::Float) / count as f64;
        (mean.unsqueeze(-1) * &self.share).sum_dim_intlist(1, false, Kind::Float)
    }
}

/// `f64::signum` but 0 for 0, as torch has it.
fn signum(weight: f64) -> f32 {
    if weight == 0.0 { 0.0 } else { weight.signum() as f32 }
}

/// Rows of length 1 along the last dimension; zeros stay zeros.
pub fn unit(x: &Tensor) -> Tensor {
    x / x.norm_scalaropt_dim(2, [-1], true).clamp_min(1e-12)
}

/// 2·asin(|a − b|/2)² over the last dimension of unit vectors: half the squared angle.
pub fn spherical_distance(a: &Tensor, b: &Tensor) -> Tensor {
    let chord = (a - b).norm_scalaropt_dim(2, [-1], false) / 2;
    // Rounding can carry the chord of opposite vectors past 1, where asin is NaN.
    chord.clamp_max(1.0).asin().square() * 2
}

/// What pulls a latent [B, …] regardless of the prompts, per unit of weight: [B].
///
/// `Mse`: MSE(z, z0)/2, towards the start (the original notebook). `Decay`: mean(z²)/(2i+1)/2,
/// towards zero and fading with the iteration i, counted from 0 (NR); `fading` is its 2i+1.
pub(crate) fn init_term(form: InitWeightForm, z: &Tensor, z0: &Tensor, fading: &Number) -> Tensor {
    let mean = |x: Tensor| x.square().flatten(1, -1).mean_dim(1, false, Kind::Float);
    match form {
        InitWeightForm::Mse => mean(z - z0) / 2.0,
        InitWeightForm::Decay => mean(z.shallow_clone()) / fading / 2.0,
    }
}

/// 2i+1.
pub(crate) fn fading(iteration: u32) -> f64 {
    f64::from(iteration) * 2.0 + 1.0
}

fn setting(field: &'static str, reason: &str) -> EngineError {
    EngineError::Setting { field, reason: reason.to_owned() }
}
