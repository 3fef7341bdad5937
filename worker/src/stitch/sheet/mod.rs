//! The contact sheet: an [`Arrangement`] as pages of pixels, with labels and a heading.

mod layout;
mod paint;

use std::io::Write;
use std::sync::Arc;

use image::RgbImage;
use image::imageops::{self, FilterType};
use vqfarm_core::sheet::ContactSheet;

use self::layout::{Faces, Layout};
use self::paint::Painter;
use super::grid::Arrangement;
use super::table::Table;
use super::text::Face;

/// Gives the pictures of cells, by their positions in [`Table::cells`], when there are any; each
/// fits a cell of the size in pixels, as [`fit`] makes it.
pub type Pictures<'a> = dyn FnMut(&[usize], (u32, u32)) -> Vec<Option<RgbImage>> + 'a;

/// A sheet, laid out and ready to be written.
pub struct Sheet {
    faces: Faces,
    table: Arc<Table>,
    arrangement: Arrangement,
    layout: Layout,
}

impl Sheet {
    /// Lays a sheet out. `frame` is the size of the largest frame in pixels. Cells shrink where
    /// that saves pages; no page is larger than the settings say.
    pub fn new(
        table: Arc<Table>,
        mut arrangement: Arrangement,
        settings: &ContactSheet,
        frame: (u32, u32),
    ) -> Self {
        let faces = Faces { regular: Face::regular(), semibold: Face::semibold() };
        let layout = Layout::new(&faces, &table, &mut arrangement, settings, frame);
        Self { faces, table, arrangement, layout }
    }

    /// The cells that it shows.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// How many pages; at least 1.
    pub fn pages(&self) -> usize {
        self.layout.pages.len()
    }

    /// Width and height of a page in pixels.
    pub fn size(&self, page: usize) -> (u32, u32) {
        (self.layout.width, self.layout.page_height(&self.arrangement, page))
    }

    /// Cells that a page shows.
    pub fn cells(&self, page: usize) -> usize {
        let slots = self.layout.pages[page].iter().flat_map(|part| {
            let rows = &self.arrangement.sections[part.section].slots[part.rows.clone()];
            rows.iter().flat_map(|row| &row[part.columns.clone()])
        });
        slots.flatten().count()
    }

    /// Writes a page as a PNG, of which one row of cells is in memory at a time.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn write(
        &self,
        page: usize,
        out: impl Write,
        pictures: &mut Pictures<'_>,
    ) -> Result<(), png::EncodingError> {
        let (width, height) = self.size(page);
        let mut encoder = png::Encoder::new(out, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Balanced);
        encoder.add_itxt_chunk("Title".into(), self.table.title.clone())?;
        let number = format!("contact sheet, page {} of {}", page + 1, self.pages());
        encoder.add_text_chunk("Description".into(), number)?;
        let mut writer = encoder.write_header()?;
        let mut rows = writer.stream_writer()?;
        let Self { faces, table, arrangement, layout } = self;
        let painter = Painter { faces, table, arrangement, layout };
        painter.page(page, pictures, |band| rows.write_all(band.as_raw()))?;
        rows.finish()?;
        writer.finish()
    }
}

/// The picture as large as a cell allows, in its own shape.
pub fn fit(picture: RgbImage, (width, height): (u32, u32)) -> RgbImage {
    let scale = (f64::from(width) / f64::from(picture.width()))
        .min(f64::from(height) / f64::from(picture.height()));
    let fit = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let (w, h) = (fit(picture.width()), fit(picture.height()));
    if (w, h) == picture.dimensions() {
        return picture;
    }
    let filter = if scale > 1.0 { FilterType::CatmullRom } else { FilterType::Lanczos3 };
    imageops::resize(&picture, w, h, filter)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::Rgb;

    use super::layout::Heading;
    use super::paint::{HOLE, PAPER};
    use super::*;
    use crate::stitch::grid::arrange;
    use crate::stitch::table::{Axis, Cell};

    const COLOURS: [Rgb<u8>; 3] = [Rgb([200, 30, 30]), Rgb([30, 160, 60]), Rgb([40, 60, 200])];

    /// Columns differ in colour, rows in brightness.
    fn sample(columns: usize, rows: usize) -> (Table, impl FnMut(usize) -> Option<RgbImage>) {
        let name = |n: usize| format!("value number {n} with a rather long label to wrap");
        let axis = |title: &str, n| Axis { name: title.into(), values: (0..n).map(name).collect() };
        let cells = (0..columns * rows).map(|i| Cell {
            index: i as u64,
            place: vec![i / rows, i % rows],
            error: (i == 1).then(|| "out of memory".into()),
            ..Cell::default()
        });
        let table = Table {
            title: "harbours".into(),
            axes: vec![axis("subject", columns), axis("style", rows)],
            cells: cells.collect(),
            facts: vec![("iterations".into(), "300".into())],
            ..Table::default()
        };
        let picture =
            move |i: usize| (i != 1).then(|| RgbImage::from_pixel(96, 64, COLOURS[i / rows % 3]));
        (table, picture)
    }

    fn lay_out(table: &Table, settings: &ContactSheet, frame: (u32, u32)) -> Sheet {
        Sheet::new(Arc::new(table.clone()), arrange(table, settings), settings, frame)
    }

    fn written(sheet: &Sheet, picture: &mut dyn FnMut(usize) -> Option<RgbImage>) -> Vec<RgbImage> {
        let mut pictures = |cells: &[usize], cell| {
            cells.iter().map(|&at| picture(at).map(|picture| fit(picture, cell))).collect()
        };
        let page = |page| {
            let mut bytes = Cursor::new(Vec::new());
            sheet.write(page, &mut bytes, &mut pictures).unwrap();
            let image = image::load_from_memory(bytes.get_ref()).unwrap().to_rgb8();
            assert_eq!(image.dimensions(), sheet.size(page));
            image
        };
        (0..sheet.pages()).map(page).collect()
    }

    fn count(sheet: &RgbImage, colour: Rgb<u8>) -> usize {
        sheet.pixels().filter(|p| **p == colour).count()
    }

    #[test]
    fn every_picture_is_whole_on_the_sheet_and_a_failed_one_leaves_its_place() {
        let (table, mut picture) = sample(3, 2);
        let sheet = lay_out(&table, &ContactSheet::default(), (96, 64));
        let pages = written(&sheet, &mut picture);
        assert_eq!(pages.len(), 1);
        let whole = 192 * 128;
        assert_eq!(count(&pages[0], COLOURS[0]), whole, "one of two failed");
        assert_eq!(count(&pages[0], COLOURS[1]), 2 * whole);
        assert_eq!(count(&pages[0], COLOURS[2]), 2 * whole);
        assert!(count(&pages[0], HOLE) > whole / 2);
    }

    #[test]
    fn a_cell_that_was_stopped_says_so_within_its_picture() {
        let (mut table, mut picture) = sample(3, 2);
        table.cells[2].stopped = Some(40);
        let [page] = written(&lay_out(&table, &ContactSheet::default(), (96, 64)), &mut picture)
            .try_into()
            .unwrap();
        let whole = 192 * 128;
        let left = count(&page, COLOURS[1]);
        assert!((whole + whole / 2..2 * whole - 500).contains(&left), "{left} of {}", 2 * whole);
        assert_eq!(count(&page, COLOURS[2]), 2 * whole, "no other cell is touched");
        // However small the cell is, nothing is painted beside it.
        let tiny = ContactSheet { cell: Some(16), ..ContactSheet::default() };
        let sheet = |stopped| {
            table.cells[2].stopped = stopped;
            written(&lay_out(&table, &tiny, (96, 64)), &mut picture).remove(0)
        };
        let [marked, plain] = [Some(40), None].map(sheet);
        let outside = plain.pixels().zip(marked.pixels());
        assert!(outside.filter(|(plain, _)| **plain != COLOURS[1]).all(|(a, b)| a == b));
    }

    #[test]
    fn the_same_sweep_gives_the_same_sheet() {
        let draw = || {
            let (table, mut picture) = sample(3, 2);
            written(&lay_out(&table, &ContactSheet::default(), (96, 64)), &mut picture)
        };
        assert_eq!(draw(), draw());
    }

    #[test]
    fn a_huge_sweep_shrinks_then_goes_over_several_pages_and_shows_all() {
        let (table, mut picture) = sample(60, 90);
        let settings = ContactSheet { page_size: [4096, 3000], ..ContactSheet::default() };
        let sheet = lay_out(&table, &settings, (96, 64));
        let mut shown = vec![0; table.cells.len()];
        let pages = written(&sheet, &mut |i| {
            shown[i] += 1;
            picture(i)
        });
        assert!(pages.len() > 1);
        assert!(pages.iter().all(|p| p.width() <= 4096 && p.height() <= 3000));
        assert!(shown.iter().all(|&times| times == 1));
        let cells: usize = (0..pages.len()).map(|page| sheet.cells(page)).sum();
        assert_eq!(cells, table.cells.len());
        // No page is nearly empty.
        let fewest = (0..pages.len()).map(|page| sheet.cells(page)).min().unwrap();
        assert!(fewest * 2 > cells / pages.len(), "{fewest} cells on a page of {cells} in all");
    }

    #[test]
    fn a_cell_is_as_large_as_asked() {
        let (table, mut picture) = sample(3, 2);
        let settings = ContactSheet { cell: Some(48), ..ContactSheet::default() };
        let pages = written(&lay_out(&table, &settings, (96, 64)), &mut picture);
        assert_eq!(count(&pages[0], COLOURS[1]), 2 * 48 * 32);
    }

    #[test]
    fn frames_of_several_sizes_keep_their_shape() {
        let (table, _) = sample(2, 2);
        let mut picture = |i: usize| {
            let (w, h) = [(100, 200), (200, 100), (200, 200), (50, 50)][i];
            Some(RgbImage::from_pixel(w, h, COLOURS[0]))
        };
        let sheet = lay_out(&table, &ContactSheet::default(), (200, 200));
        let pages = written(&sheet, &mut picture);
        assert_eq!(count(&pages[0], COLOURS[0]), 100 * 200 + 200 * 100 + 200 * 200 + 200 * 200);
    }

    /// Whatever the labels, no ink is where a picture or another label is.
    #[test]
    fn labels_never_overlap_pictures_or_leave_the_page() {
        let long = "a lighthouse above a quiet harbour at dawn in the style of an old print, ";
        for (columns, rows, side) in
            [(1, 1, 512), (30, 1, 96), (1, 30, 96), (4, 3, 96), (5, 5, 512)]
        {
            let (mut table, _) = sample(columns, rows);
            table.title = long.repeat(5);
            for axis in &mut table.axes {
                for (n, value) in axis.values.iter_mut().enumerate() {
                    *value = format!("{}{n} {}", long.repeat(3), "x".repeat(300));
                }
            }
            let frame = (side, side * 2 / 3);
            let picture = RgbImage::from_pixel(frame.0, frame.1, COLOURS[0]);
            let sheet = lay_out(&table, &ContactSheet::default(), frame);
            let [page] = written(&sheet, &mut |_| Some(picture.clone())).try_into().unwrap();
            let metrics = &sheet.layout.metrics;
            let whole = (metrics.cell.0 * metrics.cell.1) as usize * table.cells.len();
            assert_eq!(count(&page, COLOURS[0]), whole, "{columns}×{rows}");
            let (width, height) = page.dimensions();
            let margin = metrics.margin / 2;
            let edge = page.enumerate_pixels().filter(|(x, y, _)| {
                *x < margin || *y < margin || width - x <= margin || height - y <= margin
            });
            assert!(
                edge.map(|(_, _, p)| *p).all(|p| p == PAPER),
                "{columns}×{rows}: ink at the edge"
            );
            // Between the columns' labels there is a gap without ink.
            let top = metrics.margin + sheet.layout.heading.height + 2 * metrics.line();
            let x = sheet.layout.column_x(1);
            for x in (x - metrics.gap + 2)..x.min(width) {
                let clear = (top..height).all(|y| *page.get_pixel(x, y) == PAPER);
                assert!(clear || columns < 2, "{columns}×{rows}: ink between columns at {x}");
            }
        }
    }

    #[test]
    fn headings_grow_with_the_page() {
        let (table, _) = sample(3, 2);
        let small = lay_out(&table, &ContactSheet::default(), (96, 64)).layout.heading.text;
        let (table, _) = sample(10, 3);
        let large = lay_out(&table, &ContactSheet::default(), (512, 512)).layout.heading.text;
        assert!(large > 2.0 * small, "{small} and {large}");
        assert!(Heading::title_size(large) > large);
    }
}
