//! Latents that do not belong together.
//!
//! A loop moves each position of a latent on its own and arrives at codes that no encoder would
//! put side by side. A decoder that has learnt to set such latents right shows a scene where
//! one that only copies would show a smear.

use tch::{Kind, Tensor};

/// Largest share of positions that are replaced.
const SHARE: f64 = 0.9;

/// Largest noise on latents, in standard deviations of the codebook.
const NOISE: f64 = 2.0;

/// Latents [B, e, h, w] with noise on every position, from a little to more than there is of
/// them; `rows` [n, e] is the codebook. Without a gradient, and not quantised. Draws from
/// libtorch's generator.
pub fn shake(latents: &Tensor, rows: &Tensor) -> Tensor {
    let options = (Kind::Float, latents.device());
    let much = Tensor::rand([latents.size()[0], 1, 1, 1], options) * NOISE;
    noisy(latents, &rows.tr().reshape([1, rows.size()[1], 1, -1]), &much)
}

/// Latents [B, e, h, w] with so much noise, [B, 1, 1, 1] in standard deviations of the codebook
/// [1, e, 1, n].
pub fn noisy(latents: &Tensor, codebook: &Tensor, much: &Tensor) -> Tensor {
    let latents = latents.detach();
    let spread = codebook.std_dim([3i64].as_slice(), true, true);
    &latents + latents.randn_like() * spread * much
}

/// Latents [B, e, h, w], some of whose positions are replaced by those of other scenes, singly
/// or in blocks: the same place of the batch's next scene, or any place of any scene. h and w
/// must be multiples of six. No gradient flows into what is put in. Draws from libtorch's
/// generator.
pub fn corrupt(z: &Tensor) -> Tensor {
    let [batch, channels, h, w] = z.size()[..] else { return z.shallow_clone() };
    let options = (Kind::Float, z.device());
    let share = Tensor::rand([batch, 1, 1, 1], options) * SHARE;
    let block = [1, 2, 3]
        [Tensor::randint(3, [1], (Kind::Int64, tch::Device::Cpu)).int64_value(&[0]) as usize];
    let mask = Tensor::rand([batch, 1, h / block, w / block], options)
        .lt_tensor(&share)
        .repeat_interleave_self_int(block, 2, None)
        .repeat_interleave_self_int(block, 3, None);
    let values = z.detach();
    let next = values.roll([1i64].as_slice(), [0i64].as_slice());
    let order = Tensor::randperm(batch * h * w, (Kind::Int64, z.device()));
    let any = values
        .permute([0, 2, 3, 1])
        .reshape([-1, channels])
        .index_select(0, &order)
        .view([batch, h, w, channels])
        .permute([0, 3, 1, 2]);
    let which = Tensor::rand([batch, 1, 1, 1], options).lt(0.5);
    next.where_self(&which, &any).where_self(&mask, z)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_of_the_codebooks_size() {
        tch::manual_seed(3);
        let latents = Tensor::zeros([64, 4, 6, 6], (Kind::Float, tch::Device::Cpu));
        let rows = Tensor::randn([500, 4], (Kind::Float, tch::Device::Cpu)) * 5.0;
        let noise = shake(&latents, &rows).std(false).double_value(&[]) / 5.0;
        // The root of the mean square of a uniform share is that of a third.
        assert!((noise / (NOISE / 3f64.sqrt()) - 1.0).abs() < 0.2, "{noise}");
    }

    #[test]
    fn some_positions_are_replaced_as_a_whole_by_others_of_the_batch() {
        tch::manual_seed(3);
        let z = Tensor::rand([4, 5, 12, 12], (Kind::Float, tch::Device::Cpu));
        let out = corrupt(&z);
        assert_eq!(out.size(), z.size());
        let same = out.eq_tensor(&z).to_kind(Kind::Float);
        // All channels of a position, or none.
        let by_position = same.mean_dim([1i64].as_slice(), false, Kind::Float);
        assert!(
            bool::try_from(by_position.eq(0.0).logical_or(&by_position.eq(1.0)).all()).unwrap()
        );
        let kept = by_position.mean(Kind::Float).double_value(&[]);
        assert!((0.2..1.0).contains(&kept), "{kept}");
    }
}
