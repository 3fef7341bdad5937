//! Which cell goes where on a contact sheet: pure arrangement, no pixels.

use std::collections::{BTreeMap, HashMap};

use vqfarm_core::sheet::ContactSheet;

use super::table::{Cell, Table};

/// A sheet: sections one below the other, all with the same rows and columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrangement {
    /// What the rows and columns are, e.g. `style` and `subject`; empty when unlabelled.
    pub row_axis: String,
    pub column_axis: String,
    pub sections: Vec<Section>,
}

/// One grid of cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// `seed = 3`; empty when there is but one.
    pub title: String,
    /// Nothing of another section stands above it.
    pub begins_page: bool,
    /// Labels at the left; empty strings when the cells carry captions.
    pub rows: Vec<String>,
    /// Labels above; empty strings when the cells carry captions.
    pub columns: Vec<String>,
    /// `rows × columns` positions in [`Table::cells`].
    pub slots: Vec<Vec<Option<usize>>>,
    /// Captions below the cells, by position in [`Table::cells`], for sheets of one axis.
    pub captions: HashMap<usize, String>,
}

/// More columns than this are hard to look at; then the longer axis goes down.
const WIDE: usize = 10;
/// More cells of a row cannot be followed with the eye.
const BROADEST: usize = 40;
/// A small cell's longer side in pixels.
const SMALL: u32 = 96;

/// Lays the cells out. Axes that are neither rows nor columns make sections, but for those
/// that follow from the row or the column (axes that walk together): these join the labels.
pub fn arrange(table: &Table, wanted: &ContactSheet) -> Arrangement {
    let varying: Vec<usize> =
        (0..table.axes.len()).filter(|&a| distinct(table, a).len() > 1).collect();
    let paged: Vec<usize> = wanted.pages.iter().filter_map(|name| named(table, name)).collect();
    // Cells of a page, page by page, in the axes' order.
    let mut pages: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for (position, cell) in table.cells.iter().enumerate() {
        pages.entry(places(cell, &paged)).or_default().push(position);
    }
    let grid = Grid::choose(table, &varying, &paged, wanted);
    let mut sections = Vec::new();
    for cells in pages.values() {
        let from = sections.len();
        match &grid {
            Some(grid) => sections.extend(grid.sections(cells)),
            None => {
                let said: Vec<usize> =
                    varying.iter().copied().filter(|a| !paged.contains(a)).collect();
                let caption = |position: usize| describe(table, &table.cells[position], &said);
                let title = cells.first().map(|&c| describe(table, &table.cells[c], &paged));
                sections.push(strip(title.unwrap_or_default(), cells, caption, wanted));
            }
        }
        if let Some(first) = sections.get_mut(from) {
            first.begins_page = true;
        }
    }
    let names = |axes: &[usize]| {
        axes.iter().map(|&a| table.axes[a].name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let [row_axis, column_axis] = match &grid {
        Some(grid) => [names(&grid.rows.axes), names(&grid.columns.axes)],
        None => [String::new(), String::new()],
    };
    Arrangement { row_axis, column_axis, sections }
}

/// Cells in the order given, each with a caption.
pub fn in_order(captions: Vec<String>) -> Arrangement {
    let cells: Vec<usize> = (0..captions.len()).collect();
    let caption = |position: usize| captions[position].clone();
    let section = strip(String::new(), &cells, caption, &ContactSheet::default());
    Arrangement { row_axis: String::new(), column_axis: String::new(), sections: vec![section] }
}

/// No two axes make a grid: cells in reading order with captions, as broad as high, but no row
/// broader than a page.
fn strip(
    title: String,
    cells: &[usize],
    caption: impl Fn(usize) -> String,
    settings: &ContactSheet,
) -> Section {
    // With the gap beside a cell.
    let column = settings.cell.unwrap_or(SMALL) * 5 / 4;
    let most = ((settings.page_size[0] / column.max(1)) as usize).clamp(1, BROADEST);
    let width = ((cells.len().max(1) as f64).sqrt().ceil() as usize).clamp(1, most);
    let slots: Vec<Vec<Option<usize>>> = cells
        .chunks(width)
        .map(|row| {
            let mut row: Vec<_> = row.iter().copied().map(Some).collect();
            row.resize(width, None);
            row
        })
        .collect();
    Section {
        title,
        begins_page: false,
        rows: vec![String::new(); slots.len()],
        columns: vec![String::new(); width],
        slots,
        captions: cells.iter().map(|&position| (position, caption(position))).collect(),
    }
}

/// One direction of a grid: an axis, those that follow from it, and its values that occur.
struct Side {
    /// The axis itself first.
    axes: Vec<usize>,
    values: Vec<usize>,
    labels: Vec<String>,
}

impl Side {
    fn new(table: &Table, axis: usize, followers: Vec<usize>) -> Self {
        let values = distinct(table, axis);
        let labels = labels(table, axis, &followers, &values);
        Self { axes: [vec![axis], followers].concat(), values, labels }
    }

    fn position_of(&self, cell: &Cell) -> usize {
        let value = cell.place[self.axes[0]];
        self.values.partition_point(|&v| v < value)
    }
}

/// Two axes as rows and columns.
struct Grid<'a> {
    table: &'a Table,
    rows: Side,
    columns: Side,
    /// Varying axes that are neither; each combination makes a section.
    rest: Vec<usize>,
}

impl<'a> Grid<'a> {
    /// None where no two axes make a grid.
    fn choose(
        table: &'a Table,
        varying: &[usize],
        paged: &[usize],
        wanted: &ContactSheet,
    ) -> Option<Self> {
        let free: Vec<usize> = varying.iter().copied().filter(|a| !paged.contains(a)).collect();
        let (Some(rows), Some(columns)) = choose(table, &free, wanted) else { return None };
        let with_rows = followers(table, &free, rows, columns);
        let mut with_columns = followers(table, &free, columns, rows);
        with_columns.retain(|a| !with_rows.contains(a));
        let taken = [&[rows, columns][..], &with_rows, &with_columns].concat();
        let rest = varying.iter().copied().filter(|a| !taken.contains(a)).collect();
        let (rows, columns) =
            (Side::new(table, rows, with_rows), Side::new(table, columns, with_columns));
        Some(Self { table, rows, columns, rest })
    }

    /// The sections that these cells make.
    fn sections(&self, cells: &[usize]) -> Vec<Section> {
        let slots = vec![vec![None; self.columns.values.len()]; self.rows.values.len()];
        let mut sections: Vec<Section> = Vec::new();
        let mut known: HashMap<Vec<usize>, Vec<usize>> = HashMap::new();
        for &position in cells {
            let cell = &self.table.cells[position];
            let (row, column) = (self.rows.position_of(cell), self.columns.position_of(cell));
            let same = known.entry(places(cell, &self.rest)).or_default();
            // An axis may name the same value twice: the second cell starts a section like the first.
            let free = same.iter().copied().find(|&s| sections[s].slots[row][column].is_none());
            let at = free.unwrap_or_else(|| {
                sections.push(Section {
                    title: describe(self.table, cell, &self.rest),
                    begins_page: false,
                    rows: self.rows.labels.clone(),
                    columns: self.columns.labels.clone(),
                    slots: slots.clone(),
                    captions: HashMap::new(),
                });
                same.push(sections.len() - 1);
                sections.len() - 1
            });
            sections[at].slots[row][column] = Some(position);
        }
        sections
    }
}

/// Rows and columns: as wanted, else the two longest axes that vary on their own.
fn choose(
    table: &Table,
    varying: &[usize],
    wanted: &ContactSheet,
) -> (Option<usize>, Option<usize>) {
    let [rows, columns] = [&wanted.rows, &wanted.columns].map(|name| named(table, name.as_ref()?));
    let mut free: Vec<usize> = varying.to_vec();
    free.sort_by_key(|&a| std::cmp::Reverse(distinct(table, a).len()));
    let other =
        |taken: usize| free.iter().copied().find(|&a| a != taken && !walks_with(table, a, taken));
    match (rows, columns) {
        (Some(r), Some(c)) => (Some(r), Some(c)),
        (Some(r), None) => (Some(r), other(r)),
        (None, Some(c)) => (other(c), Some(c)),
        (None, None) => {
            let Some(&longest) = free.first() else { return (None, None) };
            let second = other(longest);
            if distinct(table, longest).len() > WIDE {
                (Some(longest), second)
            } else {
                (second, Some(longest))
            }
        }
    }
}

/// Axes whose value follows from that of `axis`, other than `not`.
fn followers(table: &Table, varying: &[usize], axis: usize, not: usize) -> Vec<usize> {
    let candidates = varying.iter().copied();
    candidates.filter(|&a| a != axis && a != not && follows(table, a, axis)).collect()
}

fn walks_with(table: &Table, a: usize, b: usize) -> bool {
    follows(table, a, b) || follows(table, b, a)
}

fn follows(table: &Table, follower: usize, leader: usize) -> bool {
    let mut seen: HashMap<usize, usize> = HashMap::new();
    table.cells.iter().all(|cell| {
        *seen.entry(cell.place[leader]).or_insert(cell.place[follower]) == cell.place[follower]
    })
}

/// The values of an axis that occur, in the axis's order.
fn distinct(table: &Table, axis: usize) -> Vec<usize> {
    let mut values: Vec<usize> = table.cells.iter().map(|cell| cell.place[axis]).collect();
    values.sort_unstable();
    values.dedup();
    values
}

fn named(table: &Table, name: &str) -> Option<usize> {
    table.axes.iter().position(|axis| axis.name == name)
}

/// Where a cell stands on some axes.
fn places(cell: &Cell, axes: &[usize]) -> Vec<usize> {
    axes.iter().map(|&a| cell.place[a]).collect()
}

fn labels(table: &Table, axis: usize, mates: &[usize], values: &[usize]) -> Vec<String> {
    values
        .iter()
        .map(|&value| {
            let cell = table.cells.iter().find(|cell| cell.place[axis] == value);
            let mates = mates.iter().filter_map(|&mate| Some(table.value(cell?, mate)));
            std::iter::once(table.axes[axis].values[value].as_str())
                .chain(mates)
                .collect::<Vec<_>>()
                .join(" · ")
        })
        .collect()
}

fn describe(table: &Table, cell: &Cell, axes: &[usize]) -> String {
    let part = |&a: &usize| format!("{} = {}", table.axes[a].name, table.value(cell, a));
    axes.iter().map(part).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stitch::table::Axis;

    fn axis(name: &str, values: &[&str]) -> Axis {
        Axis { name: name.into(), values: values.iter().map(|v| (*v).to_owned()).collect() }
    }

    fn table(axes: Vec<Axis>, places: &[&[usize]]) -> Table {
        let cells = places.iter().enumerate().map(|(index, place)| Cell {
            index: index as u64,
            place: place.to_vec(),
            ..Cell::default()
        });
        Table { axes, cells: cells.collect(), ..Table::default() }
    }

    fn crossed(axes: Vec<Axis>) -> Table {
        let mut places = vec![vec![]];
        for axis in &axes {
            places = places
                .into_iter()
                .flat_map(|p: Vec<usize>| {
                    (0..axis.values.len()).map(move |v| [p.clone(), vec![v]].concat())
                })
                .collect();
        }
        table(axes, &places.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    #[test]
    fn the_two_longest_axes_make_the_grid_and_the_third_makes_sections() {
        let table = crossed(vec![
            axis("seed", &["1", "2"]),
            axis("subject", &["sun", "moon", "tree", "sea"]),
            axis("style", &["flat", "dots", "stripes"]),
        ]);
        let sheet = arrange(&table, &ContactSheet::default());
        assert_eq!((sheet.row_axis.as_str(), sheet.column_axis.as_str()), ("style", "subject"));
        let titles: Vec<_> = sheet.sections.iter().map(|s| s.title.as_str()).collect();
        assert_eq!(titles, ["seed = 1", "seed = 2"]);
        assert_eq!(sheet.sections[1].columns, ["sun", "moon", "tree", "sea"]);
        // Second section, row dots, column tree: cell (1, 2, 1).
        assert_eq!(sheet.sections[1].slots[1][2], Some(12 + 2 * 3 + 1));
    }

    #[test]
    fn what_the_job_wants_wins_over_the_lengths() {
        let table = crossed(vec![axis("seed", &["1", "2"]), axis("subject", &["a", "b", "c"])]);
        let wanted = ContactSheet { rows: Some("subject".into()), ..ContactSheet::default() };
        let sheet = arrange(&table, &wanted);
        assert_eq!((sheet.row_axis.as_str(), sheet.column_axis.as_str()), ("subject", "seed"));
        assert_eq!(
            sheet.sections[0].slots,
            [[Some(0), Some(3)], [Some(1), Some(4)], [Some(2), Some(5)]]
        );
    }

    #[test]
    fn a_long_axis_goes_down() {
        let seeds: Vec<String> = (0..11).map(|n| n.to_string()).collect();
        let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
        let sheet = arrange(
            &crossed(vec![axis("seed", &seeds), axis("s", &["a", "b"])]),
            &ContactSheet::default(),
        );
        assert_eq!((sheet.row_axis.as_str(), sheet.column_axis.as_str()), ("seed", "s"));
    }

    #[test]
    fn axes_that_walk_together_share_a_label() {
        let axes = vec![
            axis("subject", &["sun", "moon"]),
            axis("colour", &["red", "white"]),
            axis("seed", &["1", "2", "3"]),
        ];
        let places: &[&[usize]] =
            &[&[0, 0, 0], &[0, 0, 1], &[0, 0, 2], &[1, 1, 0], &[1, 1, 1], &[1, 1, 2]];
        let sheet = arrange(&table(axes, places), &ContactSheet::default());
        assert_eq!(sheet.row_axis, "subject, colour");
        assert_eq!(sheet.sections.len(), 1);
        assert_eq!(sheet.sections[0].rows, ["sun · red", "moon · white"]);
    }

    #[test]
    fn one_axis_wraps_with_captions() {
        let sheet = arrange(
            &crossed(vec![axis("seed", &["1", "2", "3", "4", "5"])]),
            &ContactSheet::default(),
        );
        let section = &sheet.sections[0];
        assert_eq!(section.slots, [[Some(0), Some(1), Some(2)], [Some(3), Some(4), None]]);
        assert_eq!(section.captions[&4], "seed = 5");
    }

    #[test]
    fn no_row_of_one_axis_is_broader_than_a_page() {
        let values: Vec<String> = (0..2500).map(|n| n.to_string()).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let table = crossed(vec![axis("seed", &values)]);
        let width = |page: u32, cell| {
            let page_size = [page, 8192];
            let settings = ContactSheet { page_size, cell, ..ContactSheet::default() };
            arrange(&table, &settings).sections[0].columns.len()
        };
        assert_eq!(width(8192, None), BROADEST);
        assert_eq!(width(1024, None), 8);
        assert_eq!(width(8192, Some(512)), 12);
    }

    #[test]
    fn each_value_of_a_paged_axis_begins_a_page() {
        let axes = vec![axis("a", &["x", "y"]), axis("seed", &["1", "2"]), axis("b", &["p", "q"])];
        let table = crossed(axes);
        let wanted = |pages: &[&str]| ContactSheet {
            pages: pages.iter().map(|&name| name.to_owned()).collect(),
            ..ContactSheet::default()
        };
        let seen = |sheet: &Arrangement| -> Vec<(String, bool)> {
            sheet.sections.iter().map(|s| (s.title.clone(), s.begins_page)).collect()
        };
        let sheet = arrange(&table, &wanted(&["seed"]));
        assert_eq!((sheet.row_axis.as_str(), sheet.column_axis.as_str()), ("b", "a"));
        assert_eq!(seen(&sheet), [("seed = 1".into(), true), ("seed = 2".into(), true)]);
        // Two axes on pages leave one, in reading order.
        let sheet = arrange(&table, &wanted(&["seed", "b"]));
        let titles: Vec<_> = sheet.sections.iter().map(|s| s.title.as_str()).collect();
        assert_eq!(
            titles,
            ["seed = 1, b = p", "seed = 1, b = q", "seed = 2, b = p", "seed = 2, b = q"]
        );
        assert_eq!(sheet.sections[1].slots, [[Some(1), Some(5)]]);
        assert_eq!(sheet.sections[1].captions[&5], "a = y");
    }

    #[test]
    fn every_cell_is_shown_once_even_where_values_repeat() {
        let table = crossed(vec![axis("a", &["x", "y"]), axis("b", &["1", "2"])]);
        let doubled = Table { cells: [table.cells.clone(), table.cells.clone()].concat(), ..table };
        let sheet = arrange(&doubled, &ContactSheet::default());
        let mut shown: Vec<usize> = sheet
            .sections
            .iter()
            .flat_map(|s| s.slots.iter().flatten().flatten().copied())
            .collect();
        shown.sort_unstable();
        assert_eq!(shown, (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn a_single_cell_and_an_empty_table_are_sheets_too() {
        assert_eq!(
            arrange(&table(vec![], &[&[]]), &ContactSheet::default()).sections[0].slots,
            [[Some(0)]]
        );
        assert!(arrange(&table(vec![], &[]), &ContactSheet::default()).sections.is_empty());
    }
}
