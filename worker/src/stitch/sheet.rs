//! The contact sheet: an [`Arrangement`] drawn with labels and a heading.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::grid::{Arrangement, Section};
use super::table::Table;
use super::text::Face;

const PAPER: Rgb<u8> = Rgb([250, 249, 246]);
const INK: Rgb<u8> = Rgb([28, 28, 32]);
const FAINT: Rgb<u8> = Rgb([112, 111, 108]);
const HOLE: Rgb<u8> = Rgb([236, 234, 228]);

/// Cells are shown no larger and no smaller than this on their longer side.
const LARGEST: u32 = 512;
const SMALLEST: u32 = 96;
/// Small pictures are enlarged to about this, so that labels have room.
const COMFORTABLE: u32 = 192;
/// A page that is larger is hard to open; then cells shrink, then pages begin.
const MAX_WIDTH: u32 = 8_192;
const MAX_HEIGHT: u32 = 12_288;

/// Gives the picture of a cell, by its position in [`Table::cells`], when there is one.
pub type Pictures<'a> = dyn FnMut(usize) -> Option<RgbImage> + 'a;

/// Everything about a page that follows from the size of a cell.
struct Metrics {
    cell: (u32, u32),
    gap: u32,
    margin: u32,
    text: f32,
    row_label: u32,
}

impl Metrics {
    fn new(faces: &Faces, arrangement: &Arrangement, cell: (u32, u32)) -> Self {
        let side = cell.0.max(cell.1);
        let text = (side as f32 / 13.0).clamp(13.0, 24.0).round();
        let gap = (side / 24).max(6);
        let labels = arrangement.sections.iter().flat_map(|section| &section.rows);
        let widest = labels.map(|label| faces.regular.width(label, text)).fold(0.0, f32::max);
        // Longer labels wrap.
        let row_label = match widest.min(text * 9.0).ceil() as u32 {
            0 => 0,
            width => width + 3 * gap,
        };
        Self { cell, gap, margin: (text * 2.2) as u32, text, row_label }
    }

    fn line(&self) -> u32 {
        Face::line_height(self.text) as u32
    }
}

/// Draws the sheet. `frame` is the size of the largest frame in pixels. Most sweeps fit one
/// page; a page holds at most 8,192 × 12,288 pixels.
pub fn draw(
    table: &Table,
    arrangement: &Arrangement,
    frame: (u32, u32),
    pictures: &mut Pictures<'_>,
) -> Vec<RgbImage> {
    let faces = Faces { regular: Face::regular(), semibold: Face::semibold() };
    let longer = frame.0.max(frame.1).max(1);
    let natural = longer.clamp(COMFORTABLE, LARGEST);
    let mut side = natural;
    loop {
        let scale = f64::from(side) / f64::from(longer);
        let fit = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
        let metrics = Metrics::new(&faces, arrangement, (fit(frame.0), fit(frame.1)));
        let pages = paginate(&faces, table, arrangement, &metrics);
        if pages.len() <= 1 || side <= SMALLEST {
            let several = pages.len() > 1;
            return pages
                .iter()
                .enumerate()
                .map(|(n, page)| {
                    let number = several.then_some((n + 1, pages.len()));
                    paint(&faces, table, arrangement, &metrics, page, number, pictures)
                })
                .collect();
        }
        side = (side * 9 / 10).max(SMALLEST);
    }
}

struct Faces {
    regular: Face,
    semibold: Face,
}

/// Sections, or parts of them, that fit one page.
fn paginate(
    faces: &Faces,
    table: &Table,
    arrangement: &Arrangement,
    metrics: &Metrics,
) -> Vec<Vec<Section>> {
    let room = MAX_WIDTH - 2 * metrics.margin - metrics.row_label;
    let across = (room / (metrics.cell.0 + metrics.gap)).max(1) as usize;
    let mut pages: Vec<Vec<Section>> = vec![Vec::new()];
    let heading = Heading::new(faces, table, arrangement, metrics, MAX_WIDTH).height;
    let mut used = heading + 2 * metrics.margin;
    for section in arrangement.sections.iter().flat_map(|s| columns_of(s, across)) {
        let full = section_height(faces, &section, metrics);
        let fresh = heading + 2 * metrics.margin;
        if used + full > MAX_HEIGHT && used > fresh {
            pages.push(Vec::new());
            used = fresh;
        }
        // A section taller than a page is cut into rows.
        let rows_height = full - head_height(faces, &section, metrics);
        let row = (rows_height / section.rows.len().max(1) as u32).max(1);
        let down = ((MAX_HEIGHT - fresh - (full - rows_height)) / row).max(1) as usize;
        for (n, part) in rows_of(&section, down).into_iter().enumerate() {
            if n > 0 {
                pages.push(Vec::new());
                used = fresh;
            }
            used += section_height(faces, &part, metrics);
            if let Some(page) = pages.last_mut() {
                page.push(part);
            }
        }
    }
    pages
}

fn columns_of(section: &Section, across: usize) -> Vec<Section> {
    if section.columns.len() <= across {
        return vec![section.clone()];
    }
    (0..section.columns.len())
        .step_by(across)
        .map(|from| {
            let range = from..(from + across).min(section.columns.len());
            Section {
                columns: section.columns[range.clone()].to_vec(),
                slots: section.slots.iter().map(|row| row[range.clone()].to_vec()).collect(),
                ..section.clone()
            }
        })
        .collect()
}

fn rows_of(section: &Section, down: usize) -> Vec<Section> {
    if section.rows.len() <= down {
        return vec![section.clone()];
    }
    (0..section.rows.len())
        .step_by(down)
        .map(|from| {
            let range = from..(from + down).min(section.rows.len());
            Section {
                rows: section.rows[range.clone()].to_vec(),
                slots: section.slots[range].to_vec(),
                ..section.clone()
            }
        })
        .collect()
}

/// Lines of a label below or above a cell.
fn wrap_in_cell(faces: &Faces, text: &str, metrics: &Metrics) -> Vec<String> {
    faces.regular.wrap(text, metrics.text, metrics.cell.0 as f32, 4)
}

fn column_label_lines(faces: &Faces, section: &Section, metrics: &Metrics) -> u32 {
    let lines = section.columns.iter().map(|l| wrap_in_cell(faces, l, metrics).len());
    lines.max().unwrap_or(0) as u32
}

fn caption_lines(faces: &Faces, section: &Section, metrics: &Metrics) -> u32 {
    let lines = section.captions.values().map(|c| wrap_in_cell(faces, c, metrics).len());
    lines.max().unwrap_or(0) as u32
}

fn title_height(section: &Section, metrics: &Metrics) -> u32 {
    if section.title.is_empty() { 0 } else { metrics.line() * 2 }
}

fn head_height(faces: &Faces, section: &Section, metrics: &Metrics) -> u32 {
    let lines = column_label_lines(faces, section, metrics);
    let labels = if lines == 0 { 0 } else { lines * metrics.line() + metrics.gap };
    title_height(section, metrics) + labels
}

fn row_height(faces: &Faces, section: &Section, metrics: &Metrics) -> u32 {
    let lines = caption_lines(faces, section, metrics);
    let caption = if lines == 0 { 0 } else { lines * metrics.line() + metrics.gap };
    metrics.cell.1 + metrics.gap + caption
}

fn section_height(faces: &Faces, section: &Section, metrics: &Metrics) -> u32 {
    let rows = section.rows.len() as u32 * row_height(faces, section, metrics);
    head_height(faces, section, metrics) + rows + metrics.line()
}

/// Title and facts above the first section.
struct Heading {
    title: Vec<String>,
    facts: Vec<String>,
    height: u32,
}

impl Heading {
    fn new(
        faces: &Faces,
        table: &Table,
        arrangement: &Arrangement,
        metrics: &Metrics,
        page_width: u32,
    ) -> Self {
        let width = (page_width - 2 * metrics.margin) as f32;
        let mut facts: Vec<String> =
            table.facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
        if !arrangement.row_axis.is_empty() {
            let axes = format!("down {}, across {}", arrangement.row_axis, arrangement.column_axis);
            facts.insert(0, axes);
        }
        let title = faces.semibold.wrap(&table.title, Self::title_size(metrics), width, 2);
        let facts = faces.regular.wrap(&facts.join("  ·  "), metrics.text, width, 4);
        let height = title.len() as f32 * Face::line_height(Self::title_size(metrics))
            + (facts.len() as u32 * metrics.line() + metrics.margin) as f32;
        Self { title, facts, height: height as u32 }
    }

    fn title_size(metrics: &Metrics) -> f32 {
        (metrics.text * 1.7).round()
    }
}

fn paint(
    faces: &Faces,
    table: &Table,
    arrangement: &Arrangement,
    metrics: &Metrics,
    page: &[Section],
    number: Option<(usize, usize)>,
    pictures: &mut Pictures<'_>,
) -> RgbImage {
    let across = page.iter().map(|s| s.columns.len()).max().unwrap_or(0) as u32;
    let grid = across * (metrics.cell.0 + metrics.gap);
    let width = (metrics.row_label + grid + 2 * metrics.margin).max(640);
    let heading = Heading::new(faces, table, arrangement, metrics, width);
    let body: u32 = page.iter().map(|s| section_height(faces, s, metrics)).sum();
    let height = heading.height + body + 2 * metrics.margin;
    let mut sheet = RgbImage::from_pixel(width, height, PAPER);

    let left = metrics.margin as f32;
    let mut y = metrics.margin as f32;
    let title_size = Heading::title_size(metrics);
    for line in &heading.title {
        faces.semibold.draw(&mut sheet, left, y, line, title_size, INK);
        y += Face::line_height(title_size);
    }
    for line in &heading.facts {
        faces.regular.draw(&mut sheet, left, y, line, metrics.text, FAINT);
        y += Face::line_height(metrics.text);
    }
    if let Some((page, pages)) = number {
        let text = format!("page {page} of {pages}");
        let x = (width - metrics.margin) as f32 - faces.regular.width(&text, metrics.text);
        faces.regular.draw(&mut sheet, x, metrics.margin as f32, &text, metrics.text, FAINT);
    }

    let mut top = metrics.margin + heading.height;
    for section in page {
        paint_section(faces, table, metrics, section, &mut sheet, top, pictures);
        top += section_height(faces, section, metrics);
    }
    sheet
}

fn paint_section(
    faces: &Faces,
    table: &Table,
    metrics: &Metrics,
    section: &Section,
    sheet: &mut RgbImage,
    top: u32,
    pictures: &mut Pictures<'_>,
) {
    let line = metrics.line();
    let column_x =
        |c: usize| metrics.margin + metrics.row_label + c as u32 * (metrics.cell.0 + metrics.gap);
    if !section.title.is_empty() {
        let (x, y) = (metrics.margin as f32, top as f32);
        faces.semibold.draw(sheet, x, y, &section.title, metrics.text * 1.15, INK);
    }
    // Labels above stand on the cells, whatever the number of their lines.
    let label_lines = column_label_lines(faces, section, metrics);
    for (c, label) in section.columns.iter().enumerate() {
        let lines = wrap_in_cell(faces, label, metrics);
        let mut y =
            top + title_height(section, metrics) + (label_lines - lines.len() as u32) * line;
        for text in &lines {
            faces.regular.draw(sheet, column_x(c) as f32, y as f32, text, metrics.text, INK);
            y += line;
        }
    }
    for (r, row) in section.slots.iter().enumerate() {
        let y = top
            + head_height(faces, section, metrics)
            + r as u32 * row_height(faces, section, metrics);
        let room = metrics.row_label.saturating_sub(metrics.gap * 2) as f32;
        let max_lines = (metrics.cell.1 / line).max(1) as usize;
        let lines = faces.regular.wrap(&section.rows[r], metrics.text, room, max_lines);
        let mut text_y = y + (metrics.cell.1.saturating_sub(lines.len() as u32 * line)) / 2;
        for text in &lines {
            faces.regular.draw(
                sheet,
                metrics.margin as f32,
                text_y as f32,
                text,
                metrics.text,
                INK,
            );
            text_y += line;
        }
        for (c, slot) in row.iter().enumerate() {
            let Some(position) = *slot else { continue };
            let why_not = || match &table.cells[position].error {
                Some(error) => format!("failed: {error}"),
                None => "not there yet".to_owned(),
            };
            paint_cell(faces, metrics, sheet, (column_x(c), y), pictures(position), why_not);
            let caption = section.captions.get(&position).map_or("", String::as_str);
            let mut caption_y = y + metrics.cell.1 + metrics.gap / 2;
            for text in wrap_in_cell(faces, caption, metrics) {
                let (x, at) = (column_x(c) as f32, caption_y as f32);
                faces.regular.draw(sheet, x, at, &text, metrics.text, INK);
                caption_y += line;
            }
        }
    }
}

fn paint_cell(
    faces: &Faces,
    metrics: &Metrics,
    sheet: &mut RgbImage,
    (x, y): (u32, u32),
    picture: Option<RgbImage>,
    why_not: impl FnOnce() -> String,
) {
    let (width, height) = metrics.cell;
    let Some(picture) = picture else {
        let hole = RgbImage::from_pixel(width, height, HOLE);
        imageops::replace(sheet, &hole, i64::from(x), i64::from(y));
        let reason = why_not();
        let room = (width - width / 8) as f32;
        let mut text_y = (y + height / 16) as f32;
        let lines = (height as f32 * 0.85 / Face::line_height(metrics.text)) as usize;
        for line in faces.regular.wrap(&reason, metrics.text, room, lines.max(1)) {
            faces.regular.draw(sheet, (x + width / 16) as f32, text_y, &line, metrics.text, FAINT);
            text_y += Face::line_height(metrics.text);
        }
        return;
    };
    let scale = (f64::from(width) / f64::from(picture.width()))
        .min(f64::from(height) / f64::from(picture.height()));
    let fit = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let (w, h) = (fit(picture.width()), fit(picture.height()));
    let picture = if (w, h) == picture.dimensions() {
        picture
    } else {
        let filter = if scale > 1.0 { FilterType::CatmullRom } else { FilterType::Lanczos3 };
        imageops::resize(&picture, w, h, filter)
    };
    let centre = |room: u32, length: u32| i64::from(room.saturating_sub(length) / 2);
    imageops::replace(
        sheet,
        &picture,
        i64::from(x) + centre(width, w),
        i64::from(y) + centre(height, h),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stitch::grid::{Wanted, arrange};
    use crate::stitch::table::{Axis, Cell};

    const COLOURS: [Rgb<u8>; 3] = [Rgb([200, 30, 30]), Rgb([30, 160, 60]), Rgb([40, 60, 200])];

    /// Columns differ in colour, rows in brightness.
    fn sample(columns: usize, rows: usize) -> (Table, impl FnMut(usize) -> Option<RgbImage>) {
        let name = |n: usize| format!("value number {n} with a rather long label to wrap");
        let axis = |title: &str, n| Axis { name: title.into(), values: (0..n).map(name).collect() };
        let cells = (0..columns * rows).map(|i| Cell {
            index: i as u64,
            place: vec![i / rows, i % rows],
            prompt: String::new(),
            seed: 0,
            score: None,
            image: None,
            error: (i == 1).then(|| "out of memory".into()),
        });
        let table = Table {
            title: "harbours".into(),
            axes: vec![axis("subject", columns), axis("style", rows)],
            cells: cells.collect(),
            facts: vec![("300".into(), "iterations".into())],
        };
        let picture =
            move |i: usize| (i != 1).then(|| RgbImage::from_pixel(96, 64, COLOURS[i / rows % 3]));
        (table, picture)
    }

    fn count(sheet: &RgbImage, colour: Rgb<u8>) -> usize {
        sheet.pixels().filter(|p| **p == colour).count()
    }

    #[test]
    fn every_picture_is_whole_on_the_sheet_and_a_failed_one_leaves_its_place() {
        let (table, mut picture) = sample(3, 2);
        let pages = draw(&table, &arrange(&table, &Wanted::default()), (96, 64), &mut picture);
        assert_eq!(pages.len(), 1);
        let whole = (COMFORTABLE * COMFORTABLE * 64 / 96) as usize;
        assert_eq!(count(&pages[0], COLOURS[0]), whole, "one of two failed");
        assert_eq!(count(&pages[0], COLOURS[1]), 2 * whole);
        assert_eq!(count(&pages[0], COLOURS[2]), 2 * whole);
        assert!(count(&pages[0], HOLE) > whole / 2);
    }

    #[test]
    fn the_same_sweep_gives_the_same_sheet() {
        let draw = || {
            let (table, mut picture) = sample(3, 2);
            draw(&table, &arrange(&table, &Wanted::default()), (96, 64), &mut picture)
        };
        assert_eq!(draw(), draw());
    }

    #[test]
    fn a_huge_sweep_shrinks_then_goes_over_several_pages_and_shows_all() {
        let (table, mut picture) = sample(100, 150);
        let arrangement = arrange(&table, &Wanted::default());
        let mut shown = vec![0; table.cells.len()];
        let pages = draw(&table, &arrangement, (96, 64), &mut |i| {
            shown[i] += 1;
            picture(i)
        });
        assert!(pages.len() > 1);
        assert!(pages.iter().all(|p| p.width() <= MAX_WIDTH && p.height() <= MAX_HEIGHT));
        assert!(shown.iter().all(|&times| times == 1));
    }

    #[test]
    fn frames_of_several_sizes_keep_their_shape() {
        let (table, _) = sample(2, 2);
        let mut picture = |i: usize| {
            let (w, h) = [(100, 200), (200, 100), (200, 200), (50, 50)][i];
            Some(RgbImage::from_pixel(w, h, COLOURS[0]))
        };
        let pages = draw(&table, &arrange(&table, &Wanted::default()), (200, 200), &mut picture);
        assert_eq!(count(&pages[0], COLOURS[0]), 100 * 200 + 200 * 100 + 200 * 200 + 200 * 200);
    }
}
