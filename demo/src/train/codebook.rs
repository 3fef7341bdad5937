//! The codebook in training: each row is the running mean of the latents that chose it
//! (van den Oord et al. 2017, appendix A.1), and rows that nobody chooses start again.

use anyhow::{Result, ensure};
use tch::{Device, Kind, Tensor};

const DECAY: f64 = 0.99;
/// A row with a smaller running count of choices a batch starts again.
const DEAD: f64 = 0.03;
const RESTART_EVERY: i64 = 20;

pub struct Codebook {
    /// float32 [n, e], updated in place.
    pub rows: Tensor,
    /// Running count of choices of each row, [n].
    pub counts: Tensor,
    /// Running sum of the latents that chose each row, [n, e].
    pub sums: Tensor,
}

impl Codebook {
    pub fn new(n: i64, e: i64, device: Device) -> Self {
        let options = (Kind::Float, device);
        let rows = Tensor::zeros([n, e], options);
        Self { counts: Tensor::ones([n], options), sums: rows.copy(), rows }
    }

    /// These rows, each as if it had been chosen once.
    ///
    /// # Errors
    /// The rows have another shape.
    pub fn begin(&mut self, rows: &Tensor) -> Result<()> {
        let (found, wanted) = (rows.size(), self.rows.size());
        ensure!(found == wanted, "a codebook of {found:?} where {wanted:?} is needed");
        tch::no_grad(|| {
            self.rows.copy_(rows);
            self.sums.copy_(rows);
        });
        Ok(())
    }

    pub fn shallow_clone(&self) -> Self {
        Self {
            rows: self.rows.shallow_clone(),
            counts: self.counts.shallow_clone(),
            sums: self.sums.shallow_clone(),
        }
    }

    /// Random latents of a batch [B, e, h, w] become the rows.
    pub fn start_from(&mut self, h: &Tensor, step: i64) {
        tch::no_grad(|| {
            let rows = self.draw(&flatten(h), step);
            self.rows.copy_(&rows);
            self.sums.copy_(&rows);
            let _ = self.counts.fill_(1.0);
        });
    }

    /// Moves the rows toward the latents [B, e, h, w] that chose them, int64 [B, h, w].
    pub fn follow(&mut self, h: &Tensor, indices: &Tensor, step: i64) {
        tch::no_grad(|| {
            let latents = flatten(h);
            let indices = indices.flatten(0, -1);
            let ones = latents.select(1, 0).ones_like();
            let counts = self.counts.zeros_like().index_add(0, &indices, &ones);
            let sums = self.sums.zeros_like().index_add(0, &indices, &latents);
            let _ = self.counts.lerp_(&counts, 1.0 - DECAY);
            let _ = self.sums.lerp_(&sums, 1.0 - DECAY);
            let rows = &self.sums / (&self.counts + 1e-4).unsqueeze(1);
            self.rows.copy_(&rows);
            if step % RESTART_EVERY == 0 {
                let dead = self.counts.lt(DEAD);
                let fresh = self.draw(&latents, step);
                self.rows.copy_(&fresh.where_self(&dead.unsqueeze(1), &self.rows));
                self.sums.copy_(&fresh.where_self(&dead.unsqueeze(1), &self.sums));
                self.counts.copy_(&self.counts.ones_like().where_self(&dead, &self.counts));
            }
        });
    }

    /// One of the latents for each row, slightly shaken so that no two rows are the same.
    fn draw(&self, latents: &Tensor, step: i64) -> Tensor {
        tch::manual_seed(step);
        let (n, total) = (self.rows.size()[0], latents.size()[0]);
        let picks = Tensor::randint(total, [n], (Kind::Int64, self.rows.device()));
        let rows = latents.index_select(0, &picks);
        let noise = rows.randn_like() * rows.std(false) * 0.01;
        rows + noise
    }

    /// How many rows are in use.
    pub fn used(&self) -> i64 {
        self.counts.ge(DEAD).sum(Kind::Int64).int64_value(&[])
    }
}

/// [B, e, h, w] → [B·h·w, e].
fn flatten(h: &Tensor) -> Tensor {
    let e = h.size()[1];
    h.detach().permute([0, 2, 3, 1]).reshape([-1, e])
}
