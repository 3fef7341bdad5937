//! Captions: several phrasings, synonyms, and attributes left out at times.

use vqfarm_core::rng::Stream;

use crate::scene::{Colour, Figure, Ground, Scene, Sky, Style, Subject};

/// A text and what it claims about a picture.
#[derive(Clone, Debug)]
pub struct Caption {
    pub text: String,
    figures: Vec<Figure>,
    sky: Option<Sky>,
    ground: Option<Ground>,
    style: Option<Style>,
}

impl Caption {
    /// A caption true of `scene`, with words, order and omissions drawn from `stream`.
    pub fn write(scene: &Scene, stream: &mut Stream) -> Self {
        let figures = match scene.figures.as_slice() {
            [first, _] if stream.chance(0.15) => vec![*first],
            all => all.to_vec(),
        };
        let sky = stream.chance(0.8).then_some(scene.sky);
        let ground = stream.chance(0.8).then_some(scene.ground);
        // Flat is what one expects, so it is named less often.
        let named = if scene.style == Style::Flat { 0.4 } else { 0.75 };
        let style = stream.chance(named).then_some(scene.style);
        Self::phrase(figures, sky, ground, style, stream)
    }

    /// A caption that names every attribute, so that it is false of any other scene.
    pub fn complete(scene: &Scene, stream: &mut Stream) -> Self {
        let (sky, ground, style) = (Some(scene.sky), Some(scene.ground), Some(scene.style));
        Self::phrase(scene.figures.clone(), sky, ground, style, stream)
    }

    fn phrase(
        figures: Vec<Figure>,
        sky: Option<Sky>,
        ground: Option<Ground>,
        style: Option<Style>,
        stream: &mut Stream,
    ) -> Self {
        let listing = stream.chance(0.3);
        let style_first = stream.chance(0.35);
        let sky_first = stream.chance(0.25);
        let mut word = |words: &[&'static str]| -> &'static str {
            // The plain word three times in four.
            if stream.chance(0.75) {
                words[0]
            } else {
                words[stream.below(words.len() as u32) as usize]
            }
        };
        let who = noun_phrase(&figures, &mut word, !listing);
        let where_ = ground.map(|g| {
            let name = word(g.words());
            if listing {
                format!(", {name}")
            } else {
                format!(" {}", place(figures[0].subject, g, name))
            }
        });
        let sky_word = sky.map(|s| word(s.words()));
        let style_word = style.map(|s| word(s.words()));

        let mut text = String::new();
        if let (true, Some(style)) = (style_first, style_word) {
            text.push_str(style);
            text.push_str(", ");
        }
        if let (true, Some(sky)) = (sky_first, sky_word) {
            text.push_str(sky);
            text.push_str(", ");
        }
        text.push_str(&who);
        text.push_str(where_.as_deref().unwrap_or(""));
        if let (false, Some(sky)) = (sky_first, sky_word) {
            text.push_str(", ");
            text.push_str(sky);
        }
        if let (false, Some(style)) = (style_first, style_word) {
            text.push_str(", ");
            text.push_str(style);
        }
        Self { text, figures, sky, ground, style }
    }

    /// Whether nothing in the caption contradicts the scene. Such a pair is no negative.
    pub fn is_true_of(&self, scene: &Scene) -> bool {
        self.figures.iter().all(|f| scene.figures.contains(f))
            && self.sky.is_none_or(|s| s == scene.sky)
            && self.ground.is_none_or(|g| g == scene.ground)
            && self.style.is_none_or(|s| s == scene.style)
    }
}

/// Every word and sign that captions are made of.
pub fn words() -> impl Iterator<Item = &'static str> {
    let attributes = Subject::ALL
        .iter()
        .map(|v| v.words())
        .chain(Colour::ALL.iter().map(|v| v.words()))
        .chain(Sky::ALL.iter().map(|v| v.words()))
        .chain(Ground::ALL.iter().map(|v| v.words()))
        .chain(Style::ALL.iter().map(|v| v.words()));
    attributes
        .flatten()
        .flat_map(|phrase| phrase.split(' '))
        .chain(["a", "an", "and", "over", "by", "on", "in", "the", ","])
}

/// "a red sun and an orange boat"; without articles in a listing.
fn noun_phrase(
    figures: &[Figure],
    word: &mut impl FnMut(&'static [&'static str]) -> &'static str,
    articles: bool,
) -> String {
    let names: Vec<String> = figures
        .iter()
        .map(|f| {
            let (colour, subject) = (word(f.colour.words()), word(f.subject.words()));
            match (articles, colour.starts_with('o')) {
                (false, _) => format!("{colour} {subject}"),
                (true, true) => format!("an {colour} {subject}"),
                (true, false) => format!("a {colour} {subject}"),
            }
        })
        .collect();
    names.join(if articles { " and " } else { ", " })
}

/// "over the sea", "in the snow": how one says where a subject is.
fn place(subject: Subject, ground: Ground, name: &str) -> String {
    use Subject::{Balloon, Bird, Moon, Star, Sun};
    let preposition = match (subject, ground) {
        (Sun | Moon | Star | Balloon | Bird, _) => "over",
        (Subject::Mountain | Subject::Tower | Subject::House, Ground::Sea) => "by",
        (_, Ground::Sea) => "on",
        _ => "in",
    };
    format!("{preposition} the {name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Split;
    use vqfarm_core::rng::{Key, Purpose};

    #[test]
    fn captions_are_true_of_their_scene_and_complete_ones_false_of_a_variant() {
        let mut stream = Key::new(5, Purpose::Scene).stream();
        for _ in 0..500 {
            let scene = Scene::compose(&mut stream, Split::Train);
            assert!(Caption::write(&scene, &mut stream).is_true_of(&scene));
            let complete = Caption::complete(&scene, &mut stream);
            assert!(complete.is_true_of(&scene));
            assert!(!complete.is_true_of(&scene.variant(&mut stream, Split::Train)));
        }
    }

    #[test]
    fn captions_are_made_of_the_listed_words() {
        let words: std::collections::BTreeSet<&str> = words().collect();
        let mut stream = Key::new(6, Purpose::Scene).stream();
        let mut texts = Vec::new();
        for _ in 0..500 {
            let scene = Scene::compose(&mut stream, Split::Train);
            texts.push(Caption::write(&scene, &mut stream).text);
        }
        for word in texts.iter().flat_map(|t| t.split([' ', ','])).filter(|w| !w.is_empty()) {
            assert!(words.contains(word), "{word}");
        }
        assert!(texts.iter().any(|t| t.contains("a red sun over the")), "{texts:?}");
    }
}
