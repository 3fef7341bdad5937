//! Text on pictures: measuring, wrapping and drawing in the bundled typeface.

use ab_glyph::{Font, FontRef, Glyph, PxScale, ScaleFont, point};
use image::{Rgb, RgbImage};

const REGULAR: &[u8] = include_bytes!("../../../assets/fonts/Inter-Regular.otf");
const SEMIBOLD: &[u8] = include_bytes!("../../../assets/fonts/Inter-SemiBold.otf");

/// A weight of the typeface.
pub struct Face(FontRef<'static>);

impl Face {
    pub fn regular() -> Self {
        Self::bundled(REGULAR)
    }

    pub fn semibold() -> Self {
        Self::bundled(SEMIBOLD)
    }

    fn bundled(bytes: &'static [u8]) -> Self {
        Self(FontRef::try_from_slice(bytes).expect("the bundled font is whole"))
    }

    /// Distance from one line to the next, in pixels, for letters of `size` pixels.
    pub fn line_height(size: f32) -> f32 {
        (size * 1.3).round()
    }

    /// Width of one line in pixels.
    pub fn width(&self, text: &str, size: f32) -> f32 {
        let mut end = 0.0;
        self.layout(text, size, |_, right| end = right);
        end
    }

    /// Breaks `text` into lines of at most `width` pixels: between words where that is
    /// possible, inside a word that is too long by itself. What is beyond `max_lines` is
    /// cut, and the last line then ends in an ellipsis.
    pub fn wrap(&self, text: &str, size: f32, width: f32, max_lines: usize) -> Vec<String> {
        let mut lines = self.broken(text, size, width, max_lines);
        if lines.len() > max_lines {
            lines.truncate(max_lines);
            if let Some(last) = lines.last_mut() {
                while !last.is_empty() && self.width(&format!("{last}…"), size) > width {
                    last.pop();
                }
                last.truncate(last.trim_end().len());
                last.push('…');
            }
        }
        lines
    }

    /// Whether [`Face::wrap`] has to cut the text.
    pub fn is_cut(&self, text: &str, size: f32, width: f32, max_lines: usize) -> bool {
        self.broken(text, size, width, max_lines).len() > max_lines
    }

    /// The lines of a text, not many more than `enough`.
    fn broken(&self, text: &str, size: f32, width: f32, enough: usize) -> Vec<String> {
        let fits = |line: &str| self.width(line, size) <= width;
        let mut lines = vec![String::new()];
        for word in text.split_whitespace() {
            let line = lines.last().map_or("", String::as_str);
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if fits(&longer) {
                lines.pop();
                lines.push(longer);
                continue;
            }
            if !line.is_empty() {
                lines.push(String::new());
            }
            for letter in word.chars() {
                let line = lines.last().map_or("", String::as_str);
                let longer = format!("{line}{letter}");
                if line.is_empty() || fits(&longer) {
                    lines.pop();
                    lines.push(longer);
                } else {
                    lines.push(letter.to_string());
                }
                if lines.len() > enough {
                    return lines;
                }
            }
        }
        lines.retain(|line| !line.is_empty());
        lines
    }

    /// Draws one line with its top left corner at (x, y); what falls outside is left out.
    pub fn draw(&self, on: &mut RgbImage, x: f32, y: f32, text: &str, size: f32, ink: Rgb<u8>) {
        let font = self.0.as_scaled(self.scale(size));
        let baseline = y + (Self::line_height(size) - font.height()) / 2.0 + font.ascent();
        self.layout(text, size, |mut glyph: Glyph, _| {
            glyph.position += point(x, baseline);
            let Some(outline) = self.0.outline_glyph(glyph) else { return };
            let origin = outline.px_bounds().min;
            outline.draw(|dx, dy, cover| {
                let (x, y) = (origin.x as i64 + i64::from(dx), origin.y as i64 + i64::from(dy));
                let inside = (0..i64::from(on.width())).contains(&x)
                    && (0..i64::from(on.height())).contains(&y);
                if inside {
                    let pixel = on.get_pixel_mut(x as u32, y as u32);
                    for (paper, ink) in pixel.0.iter_mut().zip(ink.0) {
                        let mixed = f32::from(*paper) * (1.0 - cover) + f32::from(ink) * cover;
                        *paper = mixed.round().clamp(0.0, 255.0) as u8;
                    }
                }
            });
        });
    }

    /// Calls `place` with each glyph, laid out from the origin, and its right edge.
    fn layout(&self, text: &str, size: f32, mut place: impl FnMut(Glyph, f32)) {
        let scale = self.scale(size);
        let font = self.0.as_scaled(scale);
        let mut x = 0.0;
        let mut previous = None;
        for letter in text.chars().filter(|c| !c.is_control()) {
            let id = font.glyph_id(letter);
            if let Some(previous) = previous.replace(id) {
                x += font.kern(previous, id);
            }
            let glyph = id.with_scale_and_position(scale, point(x, 0.0));
            x += font.h_advance(id);
            place(glyph, x);
        }
    }

    /// `size` is the height of the em square, as in typesetting, not of ascent and descent.
    fn scale(&self, size: f32) -> PxScale {
        let em = self.0.units_per_em().unwrap_or(1000.0);
        PxScale::from(size * self.0.height_unscaled() / em)
    }
}

/// Replaces the words that all labels begin or end with by an ellipsis, so that what is left tells
/// them apart. Empty labels stay empty.
pub fn tell_apart(labels: Vec<&mut String>) {
    let mut labels: Vec<&mut String> = labels.into_iter().filter(|l| !l.is_empty()).collect();
    let words: Vec<Vec<String>> =
        labels.iter().map(|l| l.split_whitespace().map(str::to_owned).collect()).collect();
    let Some((first, others)) = words.split_first() else { return };
    if others.iter().all(|other| other == first) {
        return;
    }
    // Of each label a word stays.
    let shortest = words.iter().map(Vec::len).min().unwrap_or(0).saturating_sub(1);
    let shared = |most: usize, word: &dyn Fn(&[String], usize) -> String| {
        (0..most).take_while(|&n| others.iter().all(|o| word(o, n) == word(first, n))).count()
    };
    let begin = shared(shortest, &|words, n| words[n].clone());
    let end = shared(shortest - begin, &|words, n| words[words.len() - 1 - n].clone());
    for (label, words) in labels.iter_mut().zip(&words) {
        let kept = words[begin..words.len() - end].join(" ");
        let dots = |shared: usize| if shared > 0 { "…" } else { "" };
        **label = format!("{} {kept} {}", dots(begin), dots(end)).trim().to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_lines_fit_and_lose_no_word() {
        let face = Face::regular();
        let text = "a lighthouse above a quiet harbour at dawn, Donaudampfschifffahrtsgesellschaft";
        for width in [60.0, 120.0, 400.0] {
            let lines = face.wrap(text, 15.0, width, 100);
            assert!(lines.iter().all(|line| face.width(line, 15.0) <= width), "{lines:?}");
            let letters = |s: &str| s.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            assert_eq!(letters(&lines.concat()), letters(text));
        }
        assert_eq!(face.wrap(text, 15.0, 10_000.0, 3), [text]);
    }

    #[test]
    fn what_does_not_fit_ends_in_an_ellipsis() {
        let face = Face::semibold();
        let lines = face.wrap(&"word ".repeat(100), 15.0, 100.0, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with('…') && face.width(&lines[1], 15.0) <= 100.0, "{lines:?}");
        assert_eq!(face.wrap("  ", 15.0, 100.0, 2), [""; 0]);
    }

    #[test]
    fn labels_alike_at_both_ends_keep_what_differs() {
        let apart = |labels: &[&str]| {
            let mut labels: Vec<String> = labels.iter().map(|&l| l.to_owned()).collect();
            tell_apart(labels.iter_mut().collect());
            labels
        };
        assert_eq!(
            apart(&["a red boat at sea", "", "a blue old boat at sea"]),
            ["… red …", "", "… blue old …"]
        );
        assert_eq!(apart(&["a sun", "a sun and moon"]), ["… sun", "… sun and moon"]);
        assert_eq!(apart(&["one", "one two"]), ["one", "one two"]);
        assert_eq!(apart(&["the same", "the same"]), ["the same", "the same"]);
        assert_eq!(apart(&["", ""]), ["", ""]);
    }

    #[test]
    fn letters_are_drawn_where_they_belong_and_clipped_at_the_edge() {
        let paper = Rgb([255; 3]);
        let mut sheet = RgbImage::from_pixel(60, 30, paper);
        Face::regular().draw(&mut sheet, 10.0, 5.0, "Hamburg and more", 16.0, Rgb([0; 3]));
        let inked = |x0: u32, x1: u32| {
            sheet
                .enumerate_pixels()
                .filter(|(x, _, p)| (x0..x1).contains(x) && **p != paper)
                .count()
        };
        assert_eq!(inked(0, 10), 0);
        assert!(inked(10, 60) > 50);
    }
}
