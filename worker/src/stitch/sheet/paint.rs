//! A page of a contact sheet, painted band by band from the top, so that no page is ever in
//! memory as a whole.

use image::imageops;
use image::{Rgb, RgbImage};

use super::super::grid::{Arrangement, Section};
use super::super::table::Table;
use super::super::text::Face;
use super::Pictures;
use super::layout::{Faces, Heading, Layout, Metrics, Part, across, down};

pub const PAPER: Rgb<u8> = Rgb([250, 249, 246]);
pub const INK: Rgb<u8> = Rgb([28, 28, 32]);
pub const FAINT: Rgb<u8> = Rgb([112, 111, 108]);
pub const HOLE: Rgb<u8> = Rgb([236, 234, 228]);

/// What is painted, and with what.
pub struct Painter<'a> {
    pub faces: &'a Faces,
    pub table: &'a Table,
    pub arrangement: &'a Arrangement,
    pub layout: &'a Layout,
}

impl Painter<'_> {
    /// Hands a page's bands to `out`; together they are as high as the page.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn page<E>(
        &self,
        page: usize,
        pictures: &mut Pictures<'_>,
        mut out: impl FnMut(&RgbImage) -> Result<(), E>,
    ) -> Result<(), E> {
        out(&self.heading(page))?;
        for part in &self.layout.pages[page] {
            let section = &self.arrangement.sections[part.section];
            let head = self.layout.head_height(section, part);
            if head > 0 {
                out(&self.head(section, part, head))?;
            }
            for row in part.rows.clone() {
                out(&self.row(section, part, row, pictures))?;
            }
            out(&self.band(self.layout.metrics.line()))?;
        }
        out(&self.band(self.layout.metrics.margin))
    }

    fn band(&self, height: u32) -> RgbImage {
        RgbImage::from_pixel(self.layout.width, height, PAPER)
    }

    fn heading(&self, page: usize) -> RgbImage {
        let Layout { metrics, heading, pages, .. } = self.layout;
        let mut band = self.band(metrics.margin + heading.height);
        let (x, mut y) = (metrics.margin as f32, metrics.margin as f32);
        let size = Heading::title_size(heading.text);
        for line in &heading.title {
            self.faces.semibold.draw(&mut band, x, y, line, size, INK);
            y += Face::line_height(size);
        }
        let number = (pages.len() > 1).then(|| format!("page {} of {}", page + 1, pages.len()));
        for line in heading.facts.iter().chain(&number) {
            self.faces.regular.draw(&mut band, x, y, line, heading.text, FAINT);
            y += Face::line_height(heading.text);
        }
        band
    }

    /// Title, the axes' names, and the columns' labels just above the cells.
    fn head(&self, section: &Section, part: &Part, height: u32) -> RgbImage {
        let Faces { regular, semibold } = self.faces;
        let metrics = &self.layout.metrics;
        let mut band = self.band(height);
        let margin = metrics.margin as f32;
        if !section.title.is_empty() {
            let size = metrics.text * 1.15;
            let room = (self.layout.width - 2 * metrics.margin) as f32;
            for line in semibold.wrap(&section.title, size, room, 1) {
                semibold.draw(&mut band, margin, 0.0, &line, size, INK);
            }
        }
        let bottom = height - metrics.gap;
        let names = self.layout.title_height(section);
        let x = self.layout.column_x(0);
        let columns = across(self.arrangement);
        let room = (self.layout.width - metrics.margin - x) as f32;
        for line in regular.wrap(&columns, metrics.text, room, 1) {
            regular.draw(&mut band, x as f32, names as f32, &line, metrics.text, FAINT);
        }
        let room = metrics.row_label.saturating_sub(metrics.gap) as f32;
        for line in regular.wrap(&down(self.arrangement), metrics.text, room, 1) {
            let y = bottom.saturating_sub(metrics.line()) as f32;
            regular.draw(&mut band, margin, y, &line, metrics.text, FAINT);
        }
        for (place, column) in part.columns.clone().enumerate() {
            let lines = metrics.wrap_in_cell(self.faces, &section.columns[column]);
            let y = bottom.saturating_sub(lines.len() as u32 * metrics.line());
            self.lines(&mut band, (self.layout.column_x(place), y), &lines);
        }
        band
    }

    /// Cells with the row's label at the left and captions below.
    fn row(
        &self,
        section: &Section,
        part: &Part,
        row: usize,
        pictures: &mut Pictures<'_>,
    ) -> RgbImage {
        let metrics = &self.layout.metrics;
        let mut band = self.band(self.layout.row_height(part));
        let room = metrics.row_label.saturating_sub(2 * metrics.gap) as f32;
        let label = &section.rows[row];
        let lines = self.faces.regular.wrap(label, metrics.text, room, metrics.row_lines());
        let height = lines.len() as u32 * metrics.line();
        let y = metrics.cell.1.saturating_sub(height) / 2;
        self.lines(&mut band, (metrics.margin, y), &lines);

        let slots = section.slots[row][part.columns.clone()].iter().enumerate();
        let cells: Vec<(usize, usize)> =
            slots.filter_map(|(place, slot)| Some((place, (*slot)?))).collect();
        let positions: Vec<usize> = cells.iter().map(|&(_, position)| position).collect();
        let mut shown = pictures(&positions, metrics.cell).into_iter();
        for (place, position) in cells {
            let x = self.layout.column_x(place);
            match shown.next().flatten() {
                Some(picture) => {
                    show(&mut band, x, metrics, &picture);
                    if let Some(iterations) = self.table.cells[position].stopped {
                        self.stopped(&mut band, x, iterations);
                    }
                }
                None => self.hole(&mut band, x, position),
            }
            let caption = section.captions.get(&position).map_or("", String::as_str);
            let lines = metrics.wrap_in_cell(self.faces, caption);
            self.lines(&mut band, (x, metrics.cell.1 + metrics.gap / 2), &lines);
        }
        band
    }

    /// Lines of a label, the first one's top left corner at (x, y).
    fn lines(&self, band: &mut RgbImage, (x, mut y): (u32, u32), lines: &[String]) {
        let Metrics { text, .. } = self.layout.metrics;
        for line in lines {
            self.faces.regular.draw(band, x as f32, y as f32, line, text, INK);
            y += self.layout.metrics.line();
        }
    }

    /// A cell that was stopped early says so, in its lower left corner.
    fn stopped(&self, band: &mut RgbImage, x: u32, iterations: u32) {
        let Metrics { text, gap, cell: (width, height), .. } = self.layout.metrics;
        let pad = (gap / 2).max(1);
        let room = width.saturating_sub(2 * pad) as f32;
        let mark = format!("stopped at {iterations}");
        let regular = &self.faces.regular;
        let Some(line) = regular.wrap(&mark, text, room, 1).into_iter().next() else { return };
        let wide = (regular.width(&line, text).ceil() as u32 + 2 * pad).min(width);
        let high = self.layout.metrics.line().min(height);
        let y = height - high;
        let mut sign = RgbImage::from_pixel(wide, high, PAPER);
        regular.draw(&mut sign, pad as f32, 0.0, &line, text, INK);
        imageops::replace(band, &sign, i64::from(x), i64::from(y));
    }

    /// A cell without a picture says why.
    fn hole(&self, band: &mut RgbImage, x: u32, position: usize) {
        let metrics = &self.layout.metrics;
        let (width, height) = metrics.cell;
        let hole = RgbImage::from_pixel(width, height, HOLE);
        imageops::replace(band, &hole, i64::from(x), 0);
        let reason = match &self.table.cells[position].error {
            Some(error) => format!("failed: {error}"),
            None => "not there yet".to_owned(),
        };
        let room = (width - width / 8) as f32;
        let lines = (height - height / 8) / metrics.line();
        let mut y = height / 16;
        for line in self.faces.regular.wrap(&reason, metrics.text, room, lines.max(1) as usize) {
            let x = (x + width / 16) as f32;
            self.faces.regular.draw(band, x, y as f32, &line, metrics.text, FAINT);
            y += metrics.line();
        }
    }
}

/// A picture that fits its cell, in the middle of it.
fn show(band: &mut RgbImage, x: u32, metrics: &Metrics, picture: &RgbImage) {
    let centre = |room: u32, length: u32| i64::from(room.saturating_sub(length) / 2);
    let (width, height) = metrics.cell;
    let x = i64::from(x) + centre(width, picture.width());
    imageops::replace(band, picture, x, centre(height, picture.height()));
}
