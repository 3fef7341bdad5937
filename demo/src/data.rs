//! Endless numbered scenes: picture, attributes and caption, each a function of (seed, number).

use vqfarm_core::rng::{Key, Purpose};

use crate::caption::Caption;
use crate::draw;
use crate::scene::{Scene, Split};

/// Side of the demo models' pictures in pixels.
pub const SIZE: u32 = 96;

/// One drawn scene.
#[derive(Clone, Debug)]
pub struct Sample {
    pub scene: Scene,
    pub caption: Caption,
    /// sRGB bytes, `size`·`size`·3.
    pub pixels: Vec<u8>,
}

/// The scene numbered `index` of a seed.
pub fn sample(seed: u64, index: u32, split: Split, size: u32) -> Sample {
    let mut stream = Key::new(seed, Purpose::Scene).frame(index).stream();
    let scene = Scene::compose(&mut stream, split);
    finish(scene, size, &mut stream)
}

/// `count` scenes that differ from one another in about one attribute each: the first is
/// composed freely, the others are variants of it.
pub fn group(seed: u64, index: u32, count: usize, split: Split, size: u32) -> Vec<Sample> {
    let mut stream = Key::new(seed, Purpose::Scene).frame(index).iteration(1).stream();
    let first = Scene::compose(&mut stream, split);
    (0..count)
        .map(|i| {
            let scene = if i == 0 { first.clone() } else { first.variant(&mut stream, split) };
            finish(scene, size, &mut stream)
        })
        .collect()
}

/// A held-out scene, numbered, with a caption that names all of it: what is measured.
pub fn held_out(index: u32, size: u32) -> Sample {
    let mut stream = Key::new(0, Purpose::Scene).frame(index).iteration(2).stream();
    let scene = Scene::compose(&mut stream, Split::HeldOut);
    let caption = Caption::complete(&scene, &mut stream);
    let pixels = draw::paint(&scene, size, &mut stream);
    Sample { scene, caption, pixels }
}

/// A scene with blots in place of its figures, numbered.
pub fn blotted(seed: u64, index: u32, scene: &Scene, size: u32) -> Vec<u8> {
    let mut stream = Key::new(seed, Purpose::Scene).frame(index).iteration(3).stream();
    draw::blotted(scene, size, &mut stream)
}

fn finish(scene: Scene, size: u32, stream: &mut vqfarm_core::rng::Stream) -> Sample {
    let caption = Caption::write(&scene, stream);
    let pixels = draw::paint(&scene, size, stream);
    Sample { scene, caption, pixels }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_names_one_picture_and_one_caption() {
        let a = sample(1, 5, Split::Train, SIZE);
        let b = sample(1, 5, Split::Train, SIZE);
        assert_eq!((&a.pixels, &a.caption.text), (&b.pixels, &b.caption.text));
        assert_ne!(a.pixels, sample(1, 6, Split::Train, SIZE).pixels);
        assert_ne!(a.pixels, sample(2, 5, Split::Train, SIZE).pixels);
    }
}
