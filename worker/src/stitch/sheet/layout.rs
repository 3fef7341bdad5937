//! How large everything on a contact sheet is, and what stands on which page: no pixels.

use std::collections::BTreeMap;
use std::ops::Range;

use vqfarm_core::sheet::ContactSheet;

use super::super::grid::{Arrangement, Section};
use super::super::table::Table;
use super::super::text::{Face, tell_apart};

/// Where nothing is said, cells are shown no larger and no smaller than this on their longer side.
const LARGEST: u32 = 512;
const SMALLEST: u32 = 96;
/// Small pictures are enlarged to about this, so that labels have room.
const COMFORTABLE: u32 = 192;
/// Headings need this much.
const NARROWEST: u32 = 640;
/// Lines of a label above or below a cell, at most.
const LABEL_LINES: usize = 6;

pub struct Faces {
    pub regular: Face,
    pub semibold: Face,
}

/// Everything about a page that follows from the size of a cell, in pixels.
pub struct Metrics {
    pub cell: (u32, u32),
    pub gap: u32,
    pub margin: u32,
    /// Height of letters.
    pub text: f32,
    /// Width of the labels at the left, with the gap to the cells; 0 without such labels.
    pub row_label: u32,
}

impl Metrics {
    /// `widest` is the most pixels of a page across. Letters grow with a page that is wide, where
    /// all labels still have room.
    fn new(faces: &Faces, arrangement: &Arrangement, cell: (u32, u32), widest: u32) -> Self {
        let side = cell.0.max(cell.1);
        let columns = arrangement.sections.iter().map(|s| s.columns.len()).max().unwrap_or(0);
        let across = (columns as u32).saturating_mul(cell.0).min(widest) as f32;
        let usual = (side as f32 / 13.0).clamp(13.0, 24.0).round();
        let large = (across / 150.0).min(side as f32 / 6.0).max(usual).round();
        let sizes = [large, ((large + usual) / 2.0).round()].into_iter();
        let sizes = sizes.filter(|&size| size > usual);
        let mut large = sizes.map(|size| Self::of_text(faces, arrangement, cell, size));
        let roomy = large.find(|metrics| metrics.is_roomy(faces, arrangement));
        roomy.unwrap_or_else(|| Self::of_text(faces, arrangement, cell, usual))
    }

    fn of_text(faces: &Faces, arrangement: &Arrangement, cell: (u32, u32), text: f32) -> Self {
        let gap = (cell.0.max(cell.1) / 24).max(6);
        let metrics = Self { cell, gap, margin: (text * 2.2) as u32, text, row_label: 0 };
        let row_label = match metrics.row_label_width(faces, arrangement) {
            0 => 0,
            width => width + 2 * gap,
        };
        Self { row_label, ..metrics }
    }

    /// Whether no label is broken inside a word or takes many lines.
    fn is_roomy(&self, faces: &Faces, arrangement: &Arrangement) -> bool {
        const LINES: usize = 3;
        // More captions are too many to try out.
        const MOST: usize = 2000;
        let beside = self.row_label.saturating_sub(2 * self.gap) as f32;
        let fits = |label: &str, width: f32, lines: usize| {
            let words = label.split_whitespace();
            words.map(|word| faces.regular.width(word, self.text)).all(|word| word <= width)
                && !faces.regular.is_cut(label, self.text, width, lines)
        };
        let Some(first) = arrangement.sections.first() else { return true };
        let captions = arrangement.sections.iter().flat_map(|s| s.captions.values());
        first.rows.iter().all(|label| fits(label, beside, LINES.min(self.row_lines())))
            && first.columns.iter().all(|label| fits(label, self.label_width(), LINES))
            && captions.clone().take(MOST + 1).count() <= MOST
            && captions.into_iter().all(|label| fits(label, self.label_width(), LINES))
    }

    /// Width of a label above or below a cell: the next one keeps its distance.
    fn label_width(&self) -> f32 {
        (self.cell.0 - self.gap.min(self.cell.0 / 8)) as f32
    }

    /// As narrow as shows all labels: long ones wrap.
    fn row_label_width(&self, faces: &Faces, arrangement: &Arrangement) -> u32 {
        let mut labels: Vec<&str> =
            arrangement.sections.iter().flat_map(|s| &s.rows).map(String::as_str).collect();
        labels.sort_unstable();
        labels.dedup();
        labels.retain(|label| !label.is_empty());
        if labels.is_empty() {
            return 0;
        }
        let name = down(arrangement);
        let widest = labels.iter().copied().chain([name.as_str()]);
        let widest = widest.map(|label| faces.regular.width(label, self.text));
        let widest = widest.fold(0.0, f32::max).ceil();
        let lines = self.row_lines();
        let whole =
            |width: f32| labels.iter().all(|l| !faces.regular.is_cut(l, self.text, width, lines));
        let choices = [9.0, 14.0, 20.0].map(|letters| (letters * self.text).min(widest));
        choices.into_iter().find(|&width| whole(width)).unwrap_or(choices[2]) as u32
    }

    /// Lines of text beside a cell.
    pub fn row_lines(&self) -> usize {
        (self.cell.1 / self.line()).max(1) as usize
    }

    pub fn line(&self) -> u32 {
        Face::line_height(self.text) as u32
    }

    /// Lines of a label above or below a cell.
    pub fn wrap_in_cell(&self, faces: &Faces, text: &str) -> Vec<String> {
        faces.regular.wrap(text, self.text, self.label_width(), LABEL_LINES)
    }
}

/// What the rows are, above their labels.
pub fn down(arrangement: &Arrangement) -> String {
    match arrangement.row_axis.as_str() {
        "" => String::new(),
        axis => format!("{axis} ↓"),
    }
}

/// What the columns are, above their labels.
pub fn across(arrangement: &Arrangement) -> String {
    match arrangement.column_axis.as_str() {
        "" => String::new(),
        axis => format!("{axis} →"),
    }
}

/// Rows and columns of a section that stand together on a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub section: usize,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    /// Lines of the longest label above and below its cells.
    pub label_lines: u32,
    pub caption_lines: u32,
}

/// The pages of a sheet.
pub struct Layout {
    pub metrics: Metrics,
    /// Of every page.
    pub width: u32,
    pub heading: Heading,
    pub pages: Vec<Vec<Part>>,
}

impl Layout {
    /// Lays the sections out for frames of this size in pixels, with labels that had to be cut
    /// made so short that they can be told apart.
    pub fn new(
        faces: &Faces,
        table: &Table,
        arrangement: &mut Arrangement,
        settings: &ContactSheet,
        frame: (u32, u32),
    ) -> Self {
        let longer = frame.0.max(frame.1).max(1);
        let of_side = |side: u32| {
            let scale = f64::from(side) / f64::from(longer);
            let fit = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
            (fit(frame.0), fit(frame.1))
        };
        let at = |arrangement: &Arrangement, side: u32| {
            Self::of_cell(faces, table, arrangement, settings, of_side(side))
        };
        let side = settings.cell.or_else(|| {
            let natural = longer.clamp(COMFORTABLE, LARGEST);
            let smaller = |side: &u32| (*side > SMALLEST).then(|| (side * 9 / 10).max(SMALLEST));
            let sides: Vec<u32> = std::iter::successors(Some(natural), smaller).collect();
            // The largest cells on as few pages as the smallest would take.
            let pages = |side: u32| at(arrangement, side).pages.len();
            let fewest = pages(SMALLEST);
            sides.get(sides.partition_point(|&side| pages(side) > fewest)).copied()
        });
        let side = side.unwrap_or(SMALLEST);
        let metrics = Metrics::new(faces, arrangement, of_side(side), settings.page_size[0]);
        shorten(faces, &metrics, arrangement);
        at(arrangement, side)
    }

    fn of_cell(
        faces: &Faces,
        table: &Table,
        arrangement: &Arrangement,
        settings: &ContactSheet,
        cell: (u32, u32),
    ) -> Self {
        let [widest, highest] = settings.page_size;
        let metrics = Metrics::new(faces, arrangement, cell, widest);
        let column = metrics.cell.0 + metrics.gap;
        let around = 2 * metrics.margin + metrics.row_label;
        let fit = (widest.saturating_sub(around) / column).max(1) as usize;
        let columns = arrangement.sections.iter().map(|s| s.columns.len()).max().unwrap_or(0);
        let columns = evenly(columns, fit).map(|part| part.len()).max().unwrap_or(0);
        let width = (around + columns as u32 * column).max(NARROWEST);
        let heading = Heading::new(faces, table, &metrics, width);
        let mut layout = Self { metrics, width, heading, pages: Vec::new() };
        layout.paginate(faces, arrangement, fit, highest);
        layout
    }

    /// Puts sections, or parts of them, on pages.
    fn paginate(&mut self, faces: &Faces, arrangement: &Arrangement, across: usize, highest: u32) {
        let fresh = self.heading.height + 2 * self.metrics.margin;
        let mut used = highest;
        for (number, section) in arrangement.sections.iter().enumerate() {
            let mut begins = section.begins_page;
            let wide = Part::whole(faces, &self.metrics, number, section);
            for columns in evenly(section.columns.len(), across) {
                let part = Part { columns, ..wide.clone() };
                let full = self.part_height(section, &part);
                if begins || used + full > highest {
                    self.pages.push(Vec::new());
                    used = fresh;
                }
                begins = false;
                // A section taller than a page is cut into rows.
                let row = self.row_height(&part);
                let others = full - part.rows.len() as u32 * row;
                let fit = (highest.saturating_sub(used + others) / row).max(1) as usize;
                for (n, rows) in evenly(part.rows.len(), fit).enumerate() {
                    if n > 0 {
                        self.pages.push(Vec::new());
                        used = fresh;
                    }
                    let part = Part { rows, ..part.clone() };
                    used += self.part_height(section, &part);
                    if let Some(page) = self.pages.last_mut() {
                        page.push(part);
                    }
                }
            }
        }
        if self.pages.is_empty() {
            self.pages.push(Vec::new());
        }
    }

    pub fn page_height(&self, arrangement: &Arrangement, page: usize) -> u32 {
        let parts = self.pages[page].iter();
        let body: u32 =
            parts.map(|part| self.part_height(&arrangement.sections[part.section], part)).sum();
        self.heading.height + body + 2 * self.metrics.margin
    }

    fn part_height(&self, section: &Section, part: &Part) -> u32 {
        let rows = part.rows.len() as u32 * self.row_height(part);
        self.head_height(section, part) + rows + self.metrics.line()
    }

    /// Title, the axes' names, and labels of the columns.
    pub fn head_height(&self, section: &Section, part: &Part) -> u32 {
        let labels = match part.label_lines {
            0 => 0,
            // A line for the axes' names.
            lines => (lines + 1) * self.metrics.line() + self.metrics.gap,
        };
        self.title_height(section) + labels
    }

    pub fn title_height(&self, section: &Section) -> u32 {
        if section.title.is_empty() { 0 } else { self.metrics.line() * 2 }
    }

    /// Cells and their captions.
    pub fn row_height(&self, part: &Part) -> u32 {
        let Metrics { cell, gap, .. } = self.metrics;
        let caption = match part.caption_lines {
            0 => 0,
            lines => lines * self.metrics.line() + gap,
        };
        cell.1 + gap + caption
    }

    /// Left edge of a column.
    pub fn column_x(&self, column: usize) -> u32 {
        let Metrics { cell, gap, margin, row_label, .. } = self.metrics;
        margin + row_label + column as u32 * (cell.0 + gap)
    }
}

impl Part {
    fn whole(faces: &Faces, metrics: &Metrics, number: usize, section: &Section) -> Self {
        let longest = |labels: &mut dyn Iterator<Item = &String>| {
            labels.map(|label| metrics.wrap_in_cell(faces, label).len()).max().unwrap_or(0) as u32
        };
        Self {
            section: number,
            rows: 0..section.rows.len(),
            columns: 0..section.columns.len(),
            label_lines: longest(&mut section.columns.iter()),
            caption_lines: longest(&mut section.captions.values()),
        }
    }
}

/// `0..count` in as few parts as possible of at most `most`, none much smaller than the others.
fn evenly(count: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = count.div_ceil(most.max(1));
    (0..parts).map(move |n| (n * count / parts)..((n + 1) * count / parts))
}

/// Shortens labels of which the same would be seen to what tells them apart.
fn shorten(faces: &Faces, metrics: &Metrics, arrangement: &mut Arrangement) {
    let beside = metrics.row_label.saturating_sub(2 * metrics.gap) as f32;
    let in_row = |label: &str| faces.regular.wrap(label, metrics.text, beside, metrics.row_lines());
    let in_cell = |label: &str| metrics.wrap_in_cell(faces, label);
    for section in &mut arrangement.sections {
        shorten_alike(section.rows.iter_mut(), in_row);
        shorten_alike(section.columns.iter_mut(), in_cell);
        shorten_alike(section.captions.values_mut(), in_cell);
    }
}

fn shorten_alike<'a>(
    labels: impl Iterator<Item = &'a mut String>,
    seen: impl Fn(&str) -> Vec<String>,
) {
    let mut alike: BTreeMap<Vec<String>, Vec<&mut String>> = BTreeMap::new();
    for label in labels {
        alike.entry(seen(label)).or_default().push(label);
    }
    for group in alike.into_values() {
        tell_apart(group);
    }
}

/// Title and facts above the first section. Letters grow with the page, which is looked at as a
/// whole first.
pub struct Heading {
    pub title: Vec<String>,
    pub facts: Vec<String>,
    pub text: f32,
    pub height: u32,
}

impl Heading {
    fn new(faces: &Faces, table: &Table, metrics: &Metrics, page_width: u32) -> Self {
        let text = (page_width as f32 / 110.0).clamp(metrics.text, 64.0).round();
        let width = (page_width - 2 * metrics.margin) as f32;
        let facts: Vec<String> =
            table.facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let title = faces.semibold.wrap(&table.title, Self::title_size(text), width, 2);
        let facts = faces.regular.wrap(&facts.join("  ·  "), text, width, 4);
        // A line for the number of the page, and space below it.
        let lines = (facts.len() as f32 + 1.5) * Face::line_height(text);
        let height = title.len() as f32 * Face::line_height(Self::title_size(text)) + lines;
        Self { title, facts, text, height: height as u32 }
    }

    pub fn title_size(text: f32) -> f32 {
        (text * 1.7).round()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_would_look_alike_are_told_apart_and_others_stay() {
        let mut labels = ["a long painting muted", "stripes", "a long painting bright", "a long"]
            .map(str::to_owned);
        let seen = |label: &str| vec![label.chars().take(8).collect()];
        shorten_alike(labels.iter_mut(), seen);
        assert_eq!(labels, ["… muted", "stripes", "… bright", "a long"]);
    }

    #[test]
    fn parts_are_few_and_even() {
        let parts = |count, most| evenly(count, most).map(|part| part.len()).collect::<Vec<_>>();
        assert_eq!(parts(10, 10), [10]);
        assert_eq!(parts(11, 10), [5, 6]);
        assert_eq!(parts(100, 33), [25, 25, 25, 25]);
        assert_eq!(parts(0, 10), [0; 0]);
        assert_eq!(parts(2, 0), [1, 1]);
    }
}
