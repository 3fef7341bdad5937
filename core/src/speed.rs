//! How fast pictures are made: what workers measured, and what that says of pictures alike.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::keys;
use crate::render::RenderSettings;

/// What decides how long an iteration takes, but for the size: models, cutouts, precision.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload(String);

impl Workload {
    /// `hashes` are the models' SHA-256 by name; where one is not known its name stands in.
    pub fn of(render: &RenderSettings, hashes: &BTreeMap<String, String>) -> Self {
        let hash = |name: &String| hashes.get(name).unwrap_or(name).clone();
        let models: Vec<String> =
            std::iter::once(&render.generator).chain(&render.perceptors).map(hash).collect();
        let json = match serde_json::to_string(&(models, &render.cutouts, render.precision)) {
            Ok(json) => json,
            Err(impossible) => unreachable!("settings are always JSON: {impossible}"),
        };
        let hash = Sha256::digest(json.as_bytes());
        Self(hash.iter().take(8).map(|b| format!("{b:02x}")).collect())
    }

    /// Where its speeds lie.
    pub fn folder(&self) -> String {
        keys::speeds(&self.0)
    }
}

/// The fields of `[render]` that a [`Workload`] or the size depends on, but for their parts.
const DECIDING: [&str; 5] = ["size", "generator", "perceptors", "cutouts", "precision"];

/// Whether a field, by its dotted name, changes how long an iteration takes.
pub fn decides(field: &str) -> bool {
    DECIDING.iter().any(|name| field.split('.').next() == Some(name))
}

/// What was measured of pictures of one workload and size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Seconds of a device for one iteration of one picture.
    pub seconds: f64,
    /// `cuda` or `cpu`.
    pub device: String,
}

impl Speed {
    /// Nothing that can be measured is outside of these bounds; a damaged file may be.
    pub fn is_sensible(&self) -> bool {
        (1e-9..1e6).contains(&self.seconds)
    }
}

/// Measured speeds by workload and size.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Speeds(BTreeMap<Workload, BTreeMap<[u32; 2], Speed>>);

impl Speeds {
    pub fn add(&mut self, workload: Workload, size: [u32; 2], speed: Speed) {
        if speed.is_sensible() {
            self.0.entry(workload).or_default().insert(size, speed);
        }
    }

    /// What an iteration of a picture takes: as measured, or of the nearest size that was, by the
    /// number of pixels. `None` where no picture of the workload was measured.
    pub fn of(&self, workload: &Workload, size: [u32; 2]) -> Option<Speed> {
        let measured = self.0.get(workload)?;
        if let Some(speed) = measured.get(&size) {
            return Some(speed.clone());
        }
        let pixels = |size: &[u32; 2]| f64::from(size[0]) * f64::from(size[1]);
        let factor = |other: &[u32; 2]| pixels(&size) / pixels(other);
        let distance = |other: &[u32; 2]| factor(other).ln().abs();
        let (nearest, speed) =
            measured.iter().min_by(|(a, _), (b, _)| distance(a).total_cmp(&distance(b)))?;
        Some(Speed { seconds: speed.seconds * factor(nearest), ..speed.clone() })
    }
}

/// The workloads whose speeds are asked for. Few, whatever the number of cells.
pub type Workloads = BTreeSet<Workload>;

#[cfg(test)]
mod tests {
    use super::*;

    fn speed(seconds: f64) -> Speed {
        Speed { seconds, device: "cpu".into() }
    }

    #[test]
    fn the_nearest_size_stands_in_by_its_pixels() {
        let workload = Workload::of(&RenderSettings::default(), &BTreeMap::new());
        let mut speeds = Speeds::default();
        assert_eq!(speeds.of(&workload, [64, 64]), None);
        speeds.add(workload.clone(), [64, 64], speed(0.5));
        speeds.add(workload.clone(), [256, 256], speed(4.0));
        speeds.add(workload.clone(), [128, 128], speed(f64::NAN));
        assert_eq!(speeds.of(&workload, [64, 64]), Some(speed(0.5)));
        assert_eq!(speeds.of(&workload, [64, 128]), Some(speed(1.0)));
        assert_eq!(speeds.of(&workload, [512, 256]), Some(speed(8.0)));
        assert_eq!(speeds.of(&workload, [120, 128]), Some(speed(1.875)), "no nonsense is kept");
    }

    #[test]
    fn other_work_is_not_compared() {
        let plain = RenderSettings::default();
        let hashes = BTreeMap::from([(plain.generator.clone(), "ab".to_owned())]);
        let workload = Workload::of(&plain, &hashes);
        let same = RenderSettings { seed: 7, iterations: 9, size: [64, 64], ..plain.clone() };
        assert_eq!(Workload::of(&same, &hashes), workload);
        let mut other = plain.clone();
        other.cutouts.count += 1;
        assert_ne!(Workload::of(&other, &hashes), workload);
        assert_ne!(Workload::of(&plain, &BTreeMap::new()), workload);
        assert!(decides("cutouts.count") && decides("size") && !decides("seed"));
    }
}
