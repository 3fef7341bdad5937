//! How a picture is made with less memory than the quickest way takes.

use std::fmt;
use std::num::NonZero;

use super::Batch;

/// How frugal the computation is; the quickest way by default. The pictures are the same but for
/// rounding, and to the bit where cutouts stay together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Thrift {
    pub decoder: Decoder,
    /// Cutouts of a picture that a perceptor looks at together; all when left out.
    pub cutouts_at_once: Option<NonZero<u32>>,
}

/// What the decoder keeps for the way back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Decoder {
    /// All that it computes.
    #[default]
    Whole,
    /// What goes into each block; the rest is computed a second time (activation checkpointing).
    Checkpointed,
}

/// So few cutouts still fill a device.
const FEW: NonZero<u32> = NonZero::new(8).expect("eight is not zero");

impl Thrift {
    /// Whether nothing is computed a second time to save memory.
    pub fn computes_once(self) -> bool {
        self.decoder == Decoder::Whole
    }

    fn checkpointed(at_once: NonZero<u32>) -> Self {
        Self { decoder: Decoder::Checkpointed, cutouts_at_once: Some(at_once) }
    }
}

impl Batch {
    /// The ways to make it, from the quickest to the most frugal.
    ///
    /// On a CPU pictures are the same to the bit, so its cutouts stay together: libtorch rounds
    /// otherwise where there are fewer.
    pub fn ways(&self) -> impl Iterator<Item = Thrift> + use<> {
        let few = |n: NonZero<u32>| (self.cuda && n.get() < self.cutouts).then_some(n);
        // Fewer cutouts at once cost hardly any time, the second computation a fifth.
        let ways = [
            Some(Thrift::default()),
            few(FEW).map(|few| Thrift { cutouts_at_once: Some(few), ..Thrift::default() }),
            Some(Thrift { decoder: Decoder::Checkpointed, cutouts_at_once: None }),
            few(FEW).map(Thrift::checkpointed),
            few(NonZero::<u32>::MIN).map(Thrift::checkpointed),
        ];
        ways.into_iter().flatten()
    }

    pub fn most_frugal(&self) -> Thrift {
        self.ways().last().unwrap_or_default()
    }

    /// The next way after this one, if there is one.
    pub fn more_frugal(&self, than: Thrift) -> Option<Thrift> {
        self.ways().skip_while(|way| *way != than).nth(1)
    }
}

impl fmt::Display for Thrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.decoder, self.cutouts_at_once) {
            (Decoder::Whole, None) => f.write_str("all at once"),
            (Decoder::Whole, Some(n)) => write!(f, "{n} cutouts at a time"),
            (Decoder::Checkpointed, None) => f.write_str("decoder checkpointed"),
            (Decoder::Checkpointed, Some(n)) => {
                write!(f, "decoder checkpointed, {n} cutouts at a time")
            }
        }
    }
}
