//! Which cell goes where on a contact sheet: pure arrangement, no pixels.

use std::collections::HashMap;

use super::table::{Cell, Table};

/// The names of the axes that the job wants as rows and columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    pub rows: Option<String>,
    pub columns: Option<String>,
}

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

/// Lays the cells out. Axes that are neither rows nor columns make sections, but for those
/// that follow from the row or the column (axes that walk together): these join the labels.
pub fn arrange(table: &Table, wanted: &Wanted) -> Arrangement {
    let varying: Vec<usize> =
        (0..table.axes.len()).filter(|&a| distinct(table, a).len() > 1).collect();
    let (rows, columns) = choose(table, &varying, wanted);
    let (Some(rows), Some(columns)) = (rows, columns) else {
        return strip(table, &varying);
    };
    let with_rows = followers(table, &varying, rows, columns);
    let with_columns: Vec<usize> = followers(table, &varying, columns, rows)
        .into_iter()
        .filter(|a| !with_rows.contains(a))
        .collect();
    let rest: Vec<usize> = varying
        .iter()
        .copied()
        .filter(|&a| ![rows, columns].contains(&a))
        .filter(|a| !with_rows.contains(a) && !with_columns.contains(a))
        .collect();

    let row_values = distinct(table, rows);
    let column_values = distinct(table, columns);
    let blank = Section {
        title: String::new(),
        rows: labels(table, rows, &with_rows, &row_values),
        columns: labels(table, columns, &with_columns, &column_values),
        slots: vec![vec![None; column_values.len()]; row_values.len()],
        captions: HashMap::new(),
    };
    let mut sections: Vec<(Vec<usize>, Section)> = Vec::new();
    for (position, cell) in table.cells.iter().enumerate() {
        let key: Vec<usize> = rest.iter().map(|&a| cell.place[a]).collect();
        let row = position_of(&row_values, cell.place[rows]);
        let column = position_of(&column_values, cell.place[columns]);
        // An axis may name the same value twice: the second cell starts a section like the first.
        let free = sections.iter().position(|(k, s)| *k == key && s.slots[row][column].is_none());
        let at = free.unwrap_or_else(|| {
            let title = describe(table, cell, &rest);
            sections.push((key, Section { title, ..blank.clone() }));
            sections.len() - 1
        });
        sections[at].1.slots[row][column] = Some(position);
    }
    let name = |axis: usize, mates: &[usize]| {
        let mates = mates.iter().map(|&a| table.axes[a].name.as_str());
        std::iter::once(table.axes[axis].name.as_str()).chain(mates).collect::<Vec<_>>().join(", ")
    };
    Arrangement {
        row_axis: name(rows, &with_rows),
        column_axis: name(columns, &with_columns),
        sections: sections.into_iter().map(|(_, section)| section).collect(),
    }
}

/// One or no axis varies: cells in reading order with captions.
fn strip(table: &Table, varying: &[usize]) -> Arrangement {
    let count = table.cells.len().max(1);
    let width = ((count as f64 * 1.5).sqrt().ceil() as usize).clamp(1, count);
    let positions: Vec<Option<usize>> = (0..table.cells.len()).map(Some).collect();
    let slots: Vec<Vec<Option<usize>>> = positions
        .chunks(width)
        .map(|row| {
            let mut row = row.to_vec();
            row.resize(width, None);
            row
        })
        .collect();
    let captions = table.cells.iter().enumerate();
    let captions = captions.map(|(at, cell)| (at, describe(table, cell, varying))).collect();
    Arrangement {
        row_axis: String::new(),
        column_axis: String::new(),
        sections: vec![Section {
            title: String::new(),
            rows: vec![String::new(); slots.len()],
            columns: vec![String::new(); width],
            slots,
            captions,
        }],
    }
}

/// Rows and columns: as wanted, else the two longest axes that vary on their own.
fn choose(table: &Table, varying: &[usize], wanted: &Wanted) -> (Option<usize>, Option<usize>) {
    let named = |name: &Option<String>| {
        let name = name.as_ref()?;
        table.axes.iter().position(|axis| axis.name == *name)
    };
    let (rows, columns) = (named(&wanted.rows), named(&wanted.columns));
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

fn position_of(values: &[usize], value: usize) -> usize {
    values.partition_point(|&v| v < value)
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
            prompt: String::new(),
            seed: 0,
            score: None,
            image: None,
            error: None,
        });
        Table { title: String::new(), axes, cells: cells.collect(), facts: vec![] }
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
        let sheet = arrange(&table, &Wanted::default());
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
        let wanted = Wanted { rows: Some("subject".into()), columns: None };
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
            &Wanted::default(),
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
        let sheet = arrange(&table(axes, places), &Wanted::default());
        assert_eq!(sheet.row_axis, "subject, colour");
        assert_eq!(sheet.sections.len(), 1);
        assert_eq!(sheet.sections[0].rows, ["sun · red", "moon · white"]);
    }

    #[test]
    fn one_axis_wraps_with_captions() {
        let sheet =
            arrange(&crossed(vec![axis("seed", &["1", "2", "3", "4", "5"])]), &Wanted::default());
        let section = &sheet.sections[0];
        assert_eq!(section.slots, [[Some(0), Some(1), Some(2)], [Some(3), Some(4), None]]);
        assert_eq!(section.captions[&4], "seed = 5");
    }

    #[test]
    fn every_cell_is_shown_once_even_where_values_repeat() {
        let table = crossed(vec![axis("a", &["x", "y"]), axis("b", &["1", "2"])]);
        let doubled = Table { cells: [table.cells.clone(), table.cells.clone()].concat(), ..table };
        let sheet = arrange(&doubled, &Wanted::default());
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
            arrange(&table(vec![], &[&[]]), &Wanted::default()).sections[0].slots,
            [[Some(0)]]
        );
        assert!(arrange(&table(vec![], &[]), &Wanted::default()).sections[0].slots.is_empty());
    }
}
