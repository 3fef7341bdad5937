//! What a trainer tells of its last steps.

use tch::{Device, Kind, Tensor};

/// Means of figures since they were last told. They stay on the device, so that a step does not
/// wait for it.
pub struct Log {
    device: Device,
    sums: Vec<(&'static str, Tensor, u32)>,
}

impl Log {
    pub fn new(device: Device) -> Self {
        Self { device, sums: Vec::new() }
    }

    /// Adds one step's figure, a scalar.
    pub fn add(&mut self, name: &'static str, figure: &Tensor) {
        let figure = figure.detach().to_kind(Kind::Float);
        match self.sums.iter_mut().find(|(own, ..)| *own == name) {
            Some((_, sum, count)) => {
                *sum += figure;
                *count += 1;
            }
            None => self.sums.push((name, figure.to_device(self.device) * 1.0, 1)),
        }
    }

    /// Each figure's mean, as in ` loss 3.2 hits 0.9`, and begins anew.
    pub fn means(&mut self) -> String {
        let told = self.sums.drain(..);
        told.map(|(name, sum, count)| {
            format!(" {name} {:.3}", sum.double_value(&[]) / f64::from(count))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_told_once() {
        let mut log = Log::new(Device::Cpu);
        for (loss, hits) in [(1.0, 0.5), (2.0, 1.0)] {
            log.add("loss", &Tensor::from(loss));
            log.add("hits", &Tensor::from(hits));
        }
        log.add("hits", &Tensor::from(0.0));
        assert_eq!(log.means(), " loss 1.500 hits 0.500");
        assert_eq!(log.means(), "");
    }
}
