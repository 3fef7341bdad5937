//! GroupNorm followed by swish, which goes before each of VQGAN's convolutions.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use super::layers::{GROUP_EPSILON, GroupNorm, channels_last, swish};
use super::{Arithmetic, Weights};
use crate::device;
use crate::error::Result;
use crate::guard::guard;

pub(super) struct NormSwish {
    norm: GroupNorm,
    arithmetic: Arithmetic,
    /// Scale and shift, float32, where both are one operation (`cuda/norm.cuh`): it reads and
    /// writes a third of the bytes.
    fused: Option<[Tensor; 2]>,
}

impl NormSwish {
    pub fn new(w: &Weights, channels: i64) -> Result<Self> {
        let affine = || -> Result<_> {
            Ok([w.get_f32("weight", &[channels])?, w.get_f32("bias", &[channels])?])
        };
        let fused = match w.fuses() && takes(channels) {
            true => Some(affine()?).filter(|of| can_fuse(of[0].device(), w.kind()).is_ok()),
            false => None,
        };
        Ok(Self { norm: GroupNorm::new(w, channels)?, arithmetic: w.arithmetic(), fused })
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        let fused = |[scale, shift]: &[Tensor; 2]| {
            device::norm_swish(x, [scale, shift], GROUP_EPSILON).ok()
        };
        // What fails for want of memory fails below as well, and is told there.
        self.fused
            .as_ref()
            .and_then(fused)
            .unwrap_or_else(|| swish(&self.norm.forward(x), self.arithmetic))
    }
}

/// Whether the kernels are made for so many channels.
fn takes(channels: i64) -> bool {
    [128, 256, 512, 1024].contains(&channels)
}

/// Whether GroupNorm and the swish after it can be one operation on a device for numbers of a kind,
/// float32 or bf16: tried at the first call, against libtorch's own, there and back (values within
/// 1e-4 of the largest in float32, 2e-2 in bf16). Later calls repeat the answer.
///
/// # Errors
/// Why not: it is no GPU, the kernels do not compile there, or compute something else.
pub fn can_fuse(device: Device, kind: Kind) -> std::result::Result<(), String> {
    static TRIED: Mutex<BTreeMap<(usize, bool), std::result::Result<(), String>>> =
        Mutex::new(BTreeMap::new());
    let Device::Cuda(index) = device else { return Err("only on a GPU".into()) };
    if !matches!(kind, Kind::Float | Kind::BFloat16) {
        return Err(format!("not for {kind:?}"));
    }
    let mut tried = TRIED.lock().unwrap_or_else(PoisonError::into_inner);
    let trial = || guard(|| attempt(device, kind)).unwrap_or_else(|error| Err(error.to_string()));
    tried.entry((index, kind == Kind::Float)).or_insert_with(trial).clone()
}

fn attempt(device: Device, kind: Kind) -> std::result::Result<(), String> {
    // Several chunks that are not all of one length.
    let size = [2, 256, 33, 19];
    let numbers = Tensor::arange(size.iter().product::<i64>(), (Kind::Float, device));
    let wave = |factor: f64| channels_last(&(&numbers * factor).sin().view(size).to_kind(kind));
    let (x, gradient) = (wave(0.37) * 2.0 + 0.5, wave(0.23));
    let affine = [0.011, 0.017].map(|f| (numbers.narrow(0, 0, 256) * f).sin() + 0.5);
    let back = |x: &Tensor, y: &Tensor| {
        (y * gradient.to_kind(y.kind())).sum(Kind::Float).backward();
        [y.detach(), x.grad()].map(|t| t.to_kind(Kind::Float))
    };
    let ours = x.copy().set_requires_grad(true);
    let found = back(&ours, &device::norm_swish(&ours, [&affine[0], &affine[1]], GROUP_EPSILON)?);
    let theirs = x.to_kind(Kind::Float).detach().set_requires_grad(true);
    let [scale, shift] = &affine;
    let normal = theirs.group_norm(32, Some(scale), Some(shift), GROUP_EPSILON, true);
    let wanted = back(&theirs, &normal.silu());
    let limit = if kind == Kind::Float { 1e-4 } else { 2e-2 };
    for (what, found, wanted) in
        [("values", 0), ("gradients", 1)].map(|(what, which)| (what, &found[which], &wanted[which]))
    {
        let apart = ((found - wanted).abs().max() / wanted.abs().max()).double_value(&[]);
        if apart.is_nan() || apart >= limit {
            return Err(format!("{what} of the fused norm are {apart:.1e} from libtorch's"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::device::on_host;
    use crate::net::RandomWeights;

    #[test]
    fn it_is_swish_of_the_norm() {
        let x = Tensor::randn([2, 128, 3, 5], (Kind::Float, Device::Cpu));
        let random = RandomWeights::new(1, Device::Cpu);
        let weights = || Weights::random(&random, Kind::Float).fast();
        let wanted = GroupNorm::new(&weights(), 128).unwrap().forward(&x).silu();
        for weights in [weights(), weights().fused()] {
            let norm = NormSwish::new(&weights, 128).unwrap();
            assert!(norm.fused.is_none(), "on a CPU");
            assert!(norm.forward(&x).equal(&wanted));
        }
        assert!(can_fuse(Device::Cpu, Kind::Float).unwrap_err().contains("GPU"));
    }

    /// Runs the kernels and what libtorch takes gradients through on the host.
    #[test]
    fn the_kernels_for_a_gpu_compute_what_libtorch_does() {
        let text = on_host::run("cuda/norm_test.cpp", &[]);
        let cases: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(cases.len(), 20, "{text}");
        for case in cases {
            // Half of bf16's last digit, and float32's of sums about a distant middle.
            let limit = if case["bf16"] == 1 { 4e-3 } else { 3e-5 };
            for field in ["value", "gradient"] {
                assert!(case[field].as_f64().unwrap() < limit, "{case}");
            }
        }
    }
}
