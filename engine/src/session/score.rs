//! How well a picture fits its text.

use tch::{Kind, Tensor};

use crate::error::Result;
use crate::guard::guard;
use crate::loss::unit;
use crate::models::Models;
use crate::perception::{Eye, whole};
use crate::prompts::Script;

/// The score of one image [1, 3, H, W]; see [`super::Session::scores`].
pub(super) fn score(
    models: &Models,
    eyes: &[Eye],
    image: &Tensor,
    script: &Script,
) -> Result<Option<f32>> {
    let towards: Vec<_> = script.last.iter().filter(|(_, weight)| *weight > 0.0).collect();
    let total: f64 = towards.iter().map(|(_, weight)| weight).sum();
    if towards.is_empty() {
        return Ok(None);
    }
    let (mut sum, mut views) = (0.0, 0);
    for eye in eyes {
        let whole = whole(image, eye.resolution())?;
        for view in eye.views() {
            let seen = guard(|| tch::no_grad(|| unit(&view.features(models, &whole))))?;
            for (text, weight) in &towards {
                let (said, _) = models.text(view.perceptor, text)?;
                let cosine = (&seen * unit(&said)).sum(Kind::Float);
                sum += f64::try_from(cosine)? * weight / total;
            }
            views += 1;
        }
    }
    Ok(Some((sum / f64::from(views)) as f32))
}
