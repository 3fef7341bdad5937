//! Counter-based randomness: every draw is a pure function of who asks for it.
//!
//! Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC'11).
//! A draw is keyed by (seed, frame, iteration, cutout, purpose), so a picture does not
//! depend on the batch, the worker or the attempt it was rendered in.

/// What a stream of numbers is for. Two purposes never share numbers.
/// The values are part of the format: a picture's seed means what they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Codebook rows or pixels of the starting latent.
    Init = 0,
    /// Size and place of a crop.
    Crop = 1,
    /// How much noise a cutout gets, and that noise.
    CutoutNoise = 2,
    /// The embedding of a noise prompt.
    NoisePrompt = 3,
    /// Scenes of the demo models, and other draws outside the engine.
    Scene = 4,
    /// Weights of a network before training.
    Weights = 5,
    /// The `noise` of schedules.
    Schedule = 6,
    /// Noise on a frame before the next one starts from it.
    FrameNoise = 7,
    /// Random axes of a sweep, and which of its variants are drawn.
    Axis = 8,
    /// The first augmentation in the list; the next ones follow it.
    Augment = 64,
}

/// Names one stream of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub seed: u64,
    pub frame: u32,
    pub iteration: u32,
    pub cutout: u32,
    pub purpose: u32,
}

impl Key {
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        Self { seed, frame: 0, iteration: 0, cutout: 0, purpose: purpose as u32 }
    }

    pub fn frame(self, frame: u32) -> Self {
        Self { frame, ..self }
    }

    pub fn iteration(self, iteration: u32) -> Self {
        Self { iteration, ..self }
    }

    pub fn cutout(self, cutout: u32) -> Self {
        Self { cutout, ..self }
    }

    /// The `n`-th purpose after this one, for lists of augmentations.
    pub fn nth(self, n: u32) -> Self {
        Self { purpose: self.purpose + n, ..self }
    }

    /// Philox's key of this stream; its counter is (block, iteration, cutout, frame).
    pub fn philox_key(&self) -> [u32; 2] {
        let high = (self.seed >> 32) as u32;
        [self.seed as u32, high ^ self.purpose.wrapping_mul(0x85EB_CA6B)]
    }

    pub fn stream(self) -> Stream {
        Stream { key: self, block: 0, left: 0, words: [0; 4] }
    }
}

/// An endless sequence of numbers for one [`Key`].
#[derive(Clone, Debug)]
pub struct Stream {
    key: Key,
    block: u32,
    left: usize,
    words: [u32; 4],
}

impl Stream {
    /// Whose numbers these are, and how many words have been drawn: what it takes to go on
    /// with the same numbers elsewhere, on a GPU say.
    pub fn position(&self) -> (Key, u64) {
        (self.key, u64::from(self.block) * 4 - self.left as u64)
    }

    /// Uniform over all 32-bit words.
    pub fn word(&mut self) -> u32 {
        if self.left == 0 {
            let k = self.key;
            // Eight words of identity fit the 4-word counter and 2-word key because the
            // purpose is small and shares a word with the block's high bits.
            self.words = philox([self.block, k.iteration, k.cutout, k.frame], k.philox_key());
            self.block = self.block.wrapping_add(1);
            self.left = 4;
        }
        self.left -= 1;
        self.words[3 - self.left]
    }

    /// Uniform in [0, 1), a multiple of 2⁻²⁴: exact in float32.
    pub fn uniform(&mut self) -> f64 {
        f64::from(self.word() >> 8) / f64::from(1u32 << 24)
    }

    /// Uniform in [low, high).
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in 0..n; `n` must not be 0. Lemire's multiply-shift (bias below n/2³²).
    pub fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.word()) * u64::from(n)) >> 32) as u32
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Two independent standard normals (Box-Muller).
    pub fn normals(&mut self) -> (f64, f64) {
        // 1 - u is in (0, 1], so the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        (radius * cos, radius * sin)
    }

    /// Fills `out` with standard normals.
    pub fn fill_normal(&mut self, out: &mut [f32]) {
        for pair in out.chunks_mut(2) {
            let (a, b) = self.normals();
            pair[0] = a as f32;
            if let Some(second) = pair.get_mut(1) {
                *second = b as f32;
            }
        }
    }
}

fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    const M0: u32 = 0xD251_1F53;
    const M1: u32 = 0xCD9E_8D57;
    const W0: u32 = 0x9E37_79B9;
    const W1: u32 = 0xBB67_AE85;
    for _ in 0..10 {
        let p0 = u64::from(M0) * u64::from(counter[0]);
        let p1 = u64::from(M1) * u64::from(counter[2]);
        counter = [
            (p1 >> 32) as u32 ^ counter[1] ^ key[0],
            p1 as u32,
            (p0 >> 32) as u32 ^ counter[3] ^ key[1],
            p0 as u32,
        ];
        key = [key[0].wrapping_add(W0), key[1].wrapping_add(W1)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with Random123 (`kat_vectors`, philox4x32 10).
    #[test]
    fn philox_matches_the_published_vectors() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]
        );
    }

    #[test]
    fn streams_of_different_keys_differ_and_the_same_key_repeats() {
        let key = Key::new(7, Purpose::Crop).iteration(3);
        let take = |k: Key| {
            let mut s = k.stream();
            [s.word(), s.word(), s.word(), s.word(), s.word()]
        };
        assert_eq!(take(key), take(key));
        for other in [
            key.frame(1),
            key.iteration(4),
            key.cutout(1),
            key.nth(1),
            Key { seed: 8, ..key },
            Key { seed: 7 | 1 << 40, ..key },
        ] {
            assert_ne!(take(key), take(other));
        }
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut s = Key::new(1, Purpose::Scene).stream();
        let n = 100_000;
        let mean = (0..n).map(|_| s.uniform()).sum::<f64>() / f64::from(n);
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
        let mut z = vec![0f32; n as usize];
        s.fill_normal(&mut z);
        let var = z.iter().map(|v| f64::from(v * v)).sum::<f64>() / f64::from(n);
        assert!((var - 1.0).abs() < 0.02, "{var}");
    }
}
