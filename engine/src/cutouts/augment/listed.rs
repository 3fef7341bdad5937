//! Augmentations as what a GPU draws by: each step's record has what [`super::Augmentations::draw`]
//! draws it from.

use vqfarm_core::rng::Purpose;

use super::composed::Composed;
use super::geometry::Edge;
use super::moves::{self, Move};
use super::{Augmentations, Change, Coin, Part, Step};
use crate::cutouts::list::{Kind, List, Record, Toss};

impl Augmentations {
    /// Appends all steps, in the order in which they are drawn. `opens` as there.
    pub fn list(&self, opens: bool, list: &mut List) {
        let together = |steps: &[Step], list: &mut List| {
            let records: Vec<_> = steps.iter().map(Step::record).collect();
            list.push_run(Composed::width(&moves::edges(steps)), &records);
        };
        let (opening, parts) = self.parts(opens);
        if opens {
            together(opening, list);
        }
        for part in parts {
            match part {
                Part::Run(steps) => together(steps, list),
                Part::Step(at) => list.push(self.steps[at].width(), &self.steps[at].record()),
            }
        }
    }
}

impl Step {
    fn record(&self) -> Record {
        let toss = match self.coin {
            Coin::Each(p) => Toss::Each(p),
            Coin::Image(p) => Toss::Image(p),
        };
        let (kind, of) = self.change.record();
        let edge = match self.change {
            Change::Move(_, Edge::Zeros) => 1,
            Change::Move(_, Edge::Reflect) => 2,
            _ => 0,
        };
        Record { kind, purpose: Purpose::Augment as u32 + self.place, toss, edge, of }
    }
}

impl Change {
    fn record(&self) -> (Kind, Vec<f64>) {
        match self {
            Change::Move(of, _) => of.record(),
            Change::Jitter { range } => (Kind::Jitter, range.to_vec()),
            Change::JitterInKornia { range } => (Kind::JitterInKornia, range.to_vec()),
            Change::Sharpness(low, high) => (Kind::Sharpness, vec![*low, *high]),
            Change::Noise { deviation } => (Kind::Noise, vec![*deviation]),
            Change::Elastic { aligned: _ } => (Kind::Elastic, vec![]),
            Change::ThinPlate { scale } => (Kind::ThinPlate, vec![*scale]),
            Change::ThinPlateInKornia { scale } => (Kind::ThinPlateInKornia, vec![*scale]),
            Change::Erase { areas, aspect } => (Kind::Erase, vec![areas[0], areas[1], *aspect]),
        }
    }
}

impl Move {
    fn record(&self) -> (Kind, Vec<f64>) {
        let flag = |set: &bool| f64::from(u8::from(*set));
        match self {
            Move::Flip => (Kind::Flip, vec![]),
            Move::Affine { degrees, translate, shear, in_kornia } => {
                let head = [[*degrees].as_slice(), translate, shear].concat();
                (Kind::Affine, [head, vec![flag(in_kornia)]].concat())
            }
            Move::Perspective { distortion, in_kornia } => {
                (Kind::Perspective, vec![*distortion, flag(in_kornia)])
            }
            Move::Rotation { degrees } => (Kind::Rotation, vec![*degrees]),
            Move::ResizedCrop { areas, aspects } => {
                (Kind::ResizedCrop, [*areas, *aspects].concat())
            }
            Move::Shift { most } => (Kind::Shift, vec![*most as f64]),
        }
    }
}
