//! How much memory a lane may use, and what is made with it.

use anyhow::Result;
use tch::Device;
use vqfarm_engine::device;
use vqfarm_weights::memory::{Batch, Networks, Thrift};

use crate::memory;

/// The memory of a device, shared by its lanes.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    bytes: u64,
    /// Of a CPU whose lanes share it; a GPU has one lane.
    cores: Option<usize>,
}

/// How pictures are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The most at a time.
    pub pictures: u32,
    pub thrift: Thrift,
}

impl Plan {
    pub fn no_more_than(self, pictures: u32) -> Self {
        Self { pictures: self.pictures.min(pictures), ..self }
    }

    /// What comes after this was too much: half as many together, and then one that is made more
    /// frugally, where the ways are known to make it. None when nothing less is left.
    pub fn less(self, batch: Option<&Batch>) -> Option<Self> {
        if self.pictures > 1 {
            return Some(Self { pictures: self.pictures / 2, ..self });
        }
        let thrift = batch?.more_frugal(self.thrift)?;
        Some(Self { pictures: 1, thrift })
    }
}

impl Budget {
    /// What is free on a device now, before anything is computed on it, but no more than `most`
    /// bytes. `cores` of a CPU are used.
    ///
    /// # Errors
    /// The system does not say.
    pub fn of(device: Device, cores: usize, most: Option<u64>) -> Result<Self> {
        let bytes = memory::free(device)?.min(most.unwrap_or(u64::MAX));
        Ok(Self { bytes, cores: (!device.is_cuda()).then_some(cores) })
    }

    /// The most pictures up to those of `batch` that fit together, and the quickest way that fits:
    /// many at once are worth more than quick ones only as long as nothing is computed twice.
    /// What fits in no way is tried one by one in the most frugal one.
    pub fn plan(&self, networks: &Networks, batch: &Batch) -> Plan {
        let asked = batch.pictures.max(1);
        let way = |pictures: u32| {
            let batch = Batch { pictures, ..*batch };
            let thrift = networks.cheapest(&batch, self.activations(networks, &batch))?;
            Some(Plan { pictures, thrift })
        };
        let halves = || std::iter::successors(Some(asked), |n| Some(n / 2)).take_while(|n| *n > 0);
        let once = halves().filter_map(way).find(|plan| plan.thrift.computes_once());
        once.or_else(|| halves().find_map(way))
            .unwrap_or_else(|| Plan { pictures: 1, thrift: batch.most_frugal() })
    }

    /// Bytes that a lane has for what it computes.
    fn activations(&self, networks: &Networks, batch: &Batch) -> u64 {
        let [width, height] = batch.size.map(u64::from);
        let lanes = self.cores.map_or(1, |cores| device::pictures_at_once(width * height, cores));
        let without = networks.estimate(batch, Thrift::default()).without_activations();
        self.bytes.saturating_sub(without) / lanes as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::published;

    fn budget(gib: u64, cores: Option<usize>) -> Budget {
        Budget { bytes: gib << 30, cores }
    }

    fn batch(pictures: u32, side: u32, cuda: bool) -> Batch {
        Batch { pictures, size: [side; 2], cutouts: 32, bf16: false, cuda }
    }

    #[test]
    fn large_batches_give_way_before_anything_is_computed_twice() {
        let networks = published();
        let plan = |gib, n, side| budget(gib, None).plan(&networks, &batch(n, side, true));
        assert_eq!(plan(80, 8, 256), Plan { pictures: 8, thrift: Thrift::default() });
        let tight = plan(16, 8, 512);
        assert!(tight.pictures < 8 && tight.thrift.computes_once(), "{tight:?}");
        assert_eq!(plan(24, 8, 1024).pictures, 1);
        let nothing = Plan { pictures: 1, thrift: batch(8, 1024, true).most_frugal() };
        assert_eq!(plan(1, 8, 1024), nothing, "tried all the same");
    }

    #[test]
    fn what_a_cpu_has_is_shared_by_its_lanes() {
        let networks = published();
        let plan = |gib, cores| budget(gib, Some(cores)).plan(&networks, &batch(4, 512, false));
        assert_eq!(plan(24, 2), Plan { pictures: 4, thrift: Thrift::default() });
        let shared = plan(24, 8);
        assert_eq!(shared.pictures, 4, "one after another in any case");
        assert_ne!(shared.thrift, Thrift::default());
    }
}
