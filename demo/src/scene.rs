//! What a scene shows: one or two coloured figures, a sky, a ground, a style.

use vqfarm_core::rng::Stream;

/// Declares an attribute: an enum, all its values, and the words captions use for each.
/// The first word is the plain one, the others are its synonyms.
macro_rules! attribute {
    ($(#[$doc:meta])* $name:ident { $($value:ident = [$($word:literal),+]),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($value),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// The plain word first, then synonyms.
            pub fn words(self) -> &'static [&'static str] {
                match self { $(Self::$value => &[$($word),+]),+ }
            }

            fn pick(stream: &mut Stream) -> Self {
                Self::ALL[stream.below(Self::ALL.len() as u32) as usize]
            }

            /// Any value but this one.
            fn other(self, stream: &mut Stream) -> Self {
                let step = 1 + stream.below(Self::ALL.len() as u32 - 1) as usize;
                Self::ALL[(self as usize + step) % Self::ALL.len()]
            }
        }
    };
}

attribute! {
    /// What a figure is.
    Subject {
        Sun = ["sun"],
        Moon = ["moon", "crescent moon"],
        Star = ["star"],
        Balloon = ["balloon", "hot air balloon"],
        Bird = ["bird"],
        Mountain = ["mountain", "peak"],
        Boat = ["boat", "ship", "sailing boat"],
        Tree = ["tree"],
        House = ["house", "cottage"],
        Tower = ["tower", "lighthouse"],
        Flower = ["flower"],
        Fish = ["fish"],
        Cat = ["cat"],
        Mushroom = ["mushroom", "toadstool"],
    }
}

attribute! {
    /// What colour it is.
    Colour {
        Red = ["red", "crimson"],
        Orange = ["orange"],
        Yellow = ["yellow", "golden"],
        Green = ["green"],
        Blue = ["blue"],
        Purple = ["purple", "violet"],
        Pink = ["pink"],
        White = ["white"],
        Black = ["black"],
    }
}

attribute! {
    Sky {
        Day = ["blue sky", "day"],
        Night = ["night sky", "night", "starry sky"],
        Sunset = ["sunset sky", "sunset", "dusk"],
        Dawn = ["pink sky", "dawn"],
        Aurora = ["aurora", "green aurora", "northern lights"],
        Golden = ["yellow sky", "golden light"],
    }
}

attribute! {
    Ground {
        Sea = ["sea", "ocean"],
        Grass = ["grass", "green hills", "meadow"],
        Snow = ["snow", "snowy hills"],
        Desert = ["desert", "sand", "dunes"],
        Lavender = ["lavender", "lavender field", "purple field"],
    }
}

attribute! {
    Style {
        Flat = ["flat", "flat colours", "paper cut"],
        Stripes = ["striped", "stripes"],
        Dots = ["dotted", "polka dots", "dots"],
        Watercolour = ["watercolour", "watercolor", "watercolour painting"],
    }
}

/// A subject in a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    pub subject: Subject,
    pub colour: Colour,
}

/// Which scenes may be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// What training draws.
    Train,
    /// Combinations that training never draws.
    HeldOut,
}

/// What a picture shows, without where and how large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    /// One or two, of different subjects; the first is the larger.
    pub figures: Vec<Figure>,
    pub sky: Sky,
    pub ground: Ground,
    pub style: Style,
}

impl Scene {
    /// A free composition; one in five has two figures.
    pub fn compose(stream: &mut Stream, split: Split) -> Self {
        loop {
            let subject = Subject::pick(stream);
            let mut figures = vec![Figure { subject, colour: Colour::pick(stream) }];
            let (sky, ground, style) =
                (Sky::pick(stream), Ground::pick(stream), Style::pick(stream));
            if stream.chance(0.2) {
                let subject = subject.other(stream);
                figures.push(Figure { subject, colour: Colour::pick(stream) });
            }
            let scene = Self { figures, sky, ground, style };
            if scene.belongs_to(split) {
                return scene;
            }
        }
    }

    /// The same scene with one attribute changed: what a caption must tell apart.
    pub fn variant(&self, stream: &mut Stream, split: Split) -> Self {
        loop {
            let mut scene = self.clone();
            match stream.below(7) {
                // Subjects are the hardest to tell, so they change most often.
                0..3 => scene.figures[0].subject = scene.figures[0].subject.other(stream),
                3 => scene.figures[0].colour = scene.figures[0].colour.other(stream),
                4 => scene.sky = scene.sky.other(stream),
                5 => scene.ground = scene.ground.other(stream),
                _ => scene.style = scene.style.other(stream),
            }
            let repeats =
                scene.figures.len() == 2 && scene.figures[0].subject == scene.figures[1].subject;
            if !repeats && scene.belongs_to(split) {
                return scene;
            }
        }
    }

    /// Training scenes contain no held-out combination; held-out scenes are led by one.
    pub fn belongs_to(&self, split: Split) -> bool {
        match split {
            Split::Train => !self.figures.iter().any(|f| self.is_held_out(*f)),
            Split::HeldOut => self.is_held_out(self.figures[0]),
        }
    }

    /// One combination of (subject, colour, sky, ground, style) in eight is held out: those
    /// whose mixed-radix number, scrambled by a multiplicative hash, has its top bits zero.
    fn is_held_out(&self, figure: Figure) -> bool {
        let digits = [
            (figure.subject as u64, Subject::ALL.len()),
            (figure.colour as u64, Colour::ALL.len()),
            (self.sky as u64, Sky::ALL.len()),
            (self.ground as u64, Ground::ALL.len()),
            (self.style as u64, Style::ALL.len()),
        ];
        let number = digits.iter().fold(0, |n, (digit, radix)| n * *radix as u64 + digit);
        // SplitMix64's finaliser.
        let mut h = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
        h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        h = (h ^ (h >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (h ^ (h >> 31)) >> 61 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vqfarm_core::rng::{Key, Purpose};

    #[test]
    fn the_splits_never_meet_and_one_combination_in_eight_is_held_out() {
        let mut held_out = 0;
        let mut all = 0;
        for &subject in Subject::ALL {
            for &colour in Colour::ALL {
                for &sky in Sky::ALL {
                    for &ground in Ground::ALL {
                        for &style in Style::ALL {
                            let figures = vec![Figure { subject, colour }];
                            let scene = Scene { figures, sky, ground, style };
                            all += 1;
                            held_out += usize::from(scene.belongs_to(Split::HeldOut));
                            assert_ne!(
                                scene.belongs_to(Split::Train),
                                scene.belongs_to(Split::HeldOut)
                            );
                        }
                    }
                }
            }
        }
        let share = held_out as f64 / all as f64;
        assert!((share - 0.125).abs() < 0.01, "{share}");
    }

    #[test]
    fn a_variant_differs_in_exactly_one_attribute() {
        let mut stream = Key::new(3, Purpose::Scene).stream();
        for _ in 0..500 {
            let a = Scene::compose(&mut stream, Split::Train);
            let b = a.variant(&mut stream, Split::Train);
            let changes = [
                a.figures[0].subject != b.figures[0].subject,
                a.figures[0].colour != b.figures[0].colour,
                a.sky != b.sky,
                a.ground != b.ground,
                a.style != b.style,
            ];
            assert_eq!(changes.iter().filter(|c| **c).count(), 1, "{a:?} {b:?}");
            assert!(b.belongs_to(Split::Train));
        }
    }
}
