//! Which augmentations a cutout method has, with the parameters of NR's program.

use vqfarm_core::render::{AugmentStyle, Augmentation, CutoutMethod, Cutouts};

use super::geometry::Edge;
use super::moves::Move;
use super::{Change, Coin, Step};

/// The steps that the settings ask for: an explicit list, or the method's own.
pub(super) fn steps(settings: &Cutouts, cut_size: i64) -> Vec<Step> {
    let recipe = Recipe {
        in_kornia: settings.augment == AugmentStyle::Original,
        wide: settings.method == CutoutMethod::Nrupdated,
        cut_size,
    };
    let named = |list: &[Augmentation]| list.iter().map(|&a| recipe.named(a)).collect();
    let changes: Vec<Option<(Coin, Change)>> = match (settings.method, &settings.augmentations) {
        (CutoutMethod::Original, _) => Vec::new(),
        (_, Some(list)) => named(list),
        (CutoutMethod::Latest | CutoutMethod::Nrupdated, None) => {
            named(&[Augmentation::Af, Augmentation::Pe, Augmentation::Ji, Augmentation::Er])
        }
        (CutoutMethod::Updated, None) => recipe.updated(),
        (CutoutMethod::Updatedpooling, None) => recipe.updated_pooling(),
    };
    (0..)
        .zip(changes)
        .filter_map(|(place, change)| change.map(|(coin, change)| Step { place, coin, change }))
        .collect()
}

struct Recipe {
    /// With the quirks of kornia 0.5.4.
    in_kornia: bool,
    /// With the ranges of `nrupdated`.
    wide: bool,
    cut_size: i64,
}

impl Recipe {
    /// One of NR's two-letter augmentations; None for one that changes nothing.
    fn named(&self, name: Augmentation) -> Option<(Coin, Change)> {
        use Coin::{Each, Image};
        Some(match name {
            Augmentation::Ji => (Each(0.7), self.jitter([0.1; 4])),
            Augmentation::Sh => (Each(0.5), self.sharpness(0.3)),
            Augmentation::Gn => (Each(0.5), Change::Noise { deviation: 1.0 }),
            Augmentation::Pe => (Each(0.7), self.perspective(if self.wide { 0.5 } else { 0.7 })),
            Augmentation::Ro => {
                (Each(0.7), Change::Move(Move::Rotation { degrees: 15.0 }, Edge::Zeros))
            }
            Augmentation::Af => {
                let degrees = if self.wide { 30.0 } else { 15.0 };
                (Each(0.7), self.affine(degrees, 5.0, Edge::Zeros))
            }
            Augmentation::Et => (Each(0.7), Change::Elastic { aligned: !self.in_kornia }),
            Augmentation::Ts if self.in_kornia => {
                (Image(0.7), Change::ThinPlateInKornia { scale: 0.8 })
            }
            Augmentation::Ts => (Image(0.7), Change::ThinPlate { scale: 0.8 }),
            // The original's crop is as large as the cutout and cuts nothing off.
            Augmentation::Cr if self.in_kornia => return None,
            Augmentation::Cr => {
                (Each(0.5), Change::Move(Move::Shift { most: self.cut_size / 8 }, Edge::Reflect))
            }
            Augmentation::Er => erase(),
            Augmentation::Re => {
                let crop = Move::ResizedCrop { areas: [0.1, 1.0], aspects: [0.75, 1.333] };
                // kornia takes this one's probability for the whole batch's.
                let coin = if self.in_kornia { Image(0.5) } else { Each(0.5) };
                (coin, Change::Move(crop, Edge::Zeros))
            }
        })
    }

    /// `MakeCutoutsUpdate`.
    fn updated(&self) -> Vec<Option<(Coin, Change)>> {
        vec![
            Some((Coin::Each(0.5), Change::Move(Move::Flip, Edge::Zeros))),
            Some((Coin::Each(0.7), self.jitter([0.0, 0.0, 0.01, 0.01]))),
            Some((Coin::Each(0.4), self.sharpness(0.3))),
            Some((Coin::Each(0.8), self.affine(30.0, 0.0, Edge::Border))),
            Some((Coin::Each(0.4), self.perspective(0.2))),
        ]
    }

    /// `MakeCutoutsPoolingUpdate`.
    fn updated_pooling(&self) -> Vec<Option<(Coin, Change)>> {
        vec![
            Some((Coin::Each(0.7), self.affine(15.0, 0.0, Edge::Border))),
            Some((Coin::Each(0.7), self.perspective(0.7))),
            Some((Coin::Each(0.7), self.jitter([0.0, 0.0, 0.1, 0.1]))),
            Some(erase()),
        ]
    }

    fn jitter(&self, range: [f64; 4]) -> Change {
        if self.in_kornia { Change::JitterInKornia { range } } else { Change::Jitter { range } }
    }

    /// kornia takes a single number for the highest factor and 0 for the lowest, so it only
    /// ever blurs; the sane form goes as far to either side of 1.
    fn sharpness(&self, amount: f64) -> Change {
        if self.in_kornia {
            Change::Sharpness(0.0, amount)
        } else {
            Change::Sharpness(1.0 - amount, 1.0 + amount)
        }
    }

    /// kornia takes a single `translate` or `shear` for one direction: it moves in y only and
    /// bends x only.
    fn affine(&self, degrees: f64, shear: f64, edge: Edge) -> Change {
        let (translate, shear) =
            if self.in_kornia { ([0.0, 0.1], [shear, 0.0]) } else { ([0.1; 2], [shear; 2]) };
        Change::Move(Move::Affine { degrees, translate, shear, in_kornia: self.in_kornia }, edge)
    }

    fn perspective(&self, distortion: f64) -> Change {
        Change::Move(Move::Perspective { distortion, in_kornia: self.in_kornia }, Edge::Zeros)
    }
}

fn erase() -> (Coin, Change) {
    (Coin::Image(0.7), Change::Erase { areas: [0.1, 0.4], aspect: 0.3 })
}
