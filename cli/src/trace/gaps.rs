//! When a device did not compute, and what went on meanwhile.

use std::collections::BTreeMap;

/// What the names of lanes' tracks begin with, and what their slices are called in which the
/// device computes.
const LANE: &str = "lane-";
const COMPUTE: &str = "compute";
/// Slices around others that say more.
const AROUND: [&str; 3] = ["batch", "publish", "prepare"];

/// A slice of a trace; times in seconds since its beginning.
#[derive(Clone, Debug)]
pub struct Slice {
    pub track: String,
    pub name: String,
    pub begin: f64,
    pub end: f64,
    /// That it kept busy.
    pub cores: f64,
}

/// What a trace says.
#[derive(Debug)]
pub struct Summary {
    /// From the first computation's beginning to the last one's end.
    pub begin: f64,
    pub end: f64,
    /// Seconds that lanes computed, together.
    pub computed: f64,
    /// Shares of time, 0 to 1: of all lanes, and of each.
    pub busy: f64,
    pub lanes: Vec<(String, f64)>,
    /// The longest first.
    pub gaps: Vec<Gap>,
}

/// A time in which a lane did not compute.
#[derive(Debug)]
pub struct Gap {
    pub lane: String,
    pub begin: f64,
    pub end: f64,
    /// What was done meanwhile and for how long, on its own track first, then by length.
    pub during: Vec<(String, f64)>,
}

impl Summary {
    pub fn seconds(&self) -> f64 {
        self.end - self.begin
    }
}

/// `None` when no lane computed anything. Names at most so many gaps.
pub fn summary(slices: Vec<Slice>, gaps: usize) -> Option<Summary> {
    let mut lanes: BTreeMap<&str, Vec<&Slice>> = BTreeMap::new();
    for slice in &slices {
        if slice.name == COMPUTE && slice.track.starts_with(LANE) {
            lanes.entry(&slice.track).or_default().push(slice);
        }
    }
    lanes.values_mut().for_each(|computing| computing.sort_by(|a, b| a.begin.total_cmp(&b.begin)));
    let computing = || lanes.values().flatten();
    let begin = computing().map(|slice| slice.begin).min_by(f64::total_cmp)?;
    let end = computing().map(|slice| slice.end).max_by(f64::total_cmp)?;
    let seconds = (end - begin).max(f64::EPSILON);
    let computed = |slices: &[&Slice]| -> f64 {
        slices.iter().map(|slice| (slice.end - slice.begin) * slice.cores).sum()
    };
    let all: f64 = lanes.values().map(|computing| computed(computing)).sum();
    let mut found: Vec<Gap> = Vec::new();
    for (lane, computing) in &lanes {
        let ends = std::iter::once(begin).chain(computing.iter().map(|slice| slice.end));
        let begins = computing.iter().map(|slice| slice.begin).chain([end]);
        let gap = |(begin, end)| Gap { lane: lane.to_string(), begin, end, during: Vec::new() };
        found.extend(ends.zip(begins).filter(|(end, begin)| begin > end).map(gap));
    }
    found.sort_by(|a, b| (b.end - b.begin).total_cmp(&(a.end - a.begin)));
    found.truncate(gaps);
    for gap in &mut found {
        gap.during = during(gap, &slices);
    }
    let share = |(lane, computing): (&&str, &Vec<&Slice>)| {
        (lane.to_string(), (computed(computing) / seconds).min(1.0))
    };
    Some(Summary {
        begin,
        end,
        computed: all,
        busy: (all / seconds / lanes.len() as f64).min(1.0),
        lanes: lanes.iter().map(share).collect(),
        gaps: found,
    })
}

fn during(gap: &Gap, slices: &[Slice]) -> Vec<(String, f64)> {
    let mut own: BTreeMap<&str, f64> = BTreeMap::new();
    let mut others: BTreeMap<&str, f64> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| !AROUND.contains(&&*slice.name)) {
        let overlap = slice.end.min(gap.end) - slice.begin.max(gap.begin);
        let is_own = slice.track == gap.lane;
        if overlap > 0.0 && (is_own || !slice.track.starts_with(LANE)) {
            let side = if is_own { &mut own } else { &mut others };
            *side.entry(&slice.name).or_default() += overlap;
        }
    }
    let longest_first = |side: BTreeMap<&str, f64>| {
        let mut side: Vec<_> = side.into_iter().map(|(name, s)| (name.to_owned(), s)).collect();
        side.sort_by(|a, b| b.1.total_cmp(&a.1));
        side
    };
    let (mut own, others) = (longest_first(own), longest_first(others));
    own.extend(others);
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(track: &str, name: &str, begin: f64, end: f64) -> Slice {
        Slice { track: track.into(), name: name.into(), begin, end, cores: 1.0 }
    }

    #[test]
    fn gaps_are_told_with_what_went_on() {
        let slices = vec![
            slice("lane-0", "batch", 0.5, 4.0),
            slice("lane-0", "compute", 1.0, 4.0),
            slice("lane-0", "compute", 5.0, 9.0),
            slice("lane-0", "begin", 4.75, 5.0),
            slice("lease", "lease", 4.0, 4.5),
            slice("upload", "upload", 0.0, 0.9),
            slice("lane-1", "compute", 3.0, 11.0),
        ];
        let summary = summary(slices, 2).unwrap();
        assert_eq!((summary.begin, summary.end, summary.computed), (1.0, 11.0, 15.0));
        assert_eq!((summary.busy, &summary.lanes[0]), (0.75, &("lane-0".to_owned(), 0.7)));
        let gaps: Vec<_> =
            summary.gaps.iter().map(|gap| (&*gap.lane, gap.begin, gap.end)).collect();
        assert_eq!(gaps, [("lane-0", 9.0, 11.0), ("lane-1", 1.0, 3.0)]);
        assert!(summary.gaps[0].during.is_empty());
    }

    #[test]
    fn a_lanes_own_doings_come_first() {
        let slices = vec![
            slice("lane-0", "compute", 0.0, 1.0),
            slice("lane-0", "compute", 3.0, 4.0),
            slice("lane-0", "begin", 2.5, 3.0),
            slice("lease", "lease", 0.5, 2.0),
            slice("task", "task", 2.0, 2.1),
        ];
        let during = &summary(slices, 1).unwrap().gaps[0].during;
        let names: Vec<_> = during.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["begin", "lease", "task"]);
        assert_eq!(during[1].1, 1.0, "as long as the gap lasts");
    }

    #[test]
    fn a_picture_on_two_cores_keeps_two_lanes_busy() {
        let two = Slice { cores: 2.0, ..slice("lane-0", "compute", 0.0, 4.0) };
        let after = slice("lane-1", "compute", 4.0, 4.0);
        assert_eq!(summary(vec![two, after], 0).unwrap().busy, 1.0);
        assert!(summary(Vec::new(), 0).is_none());
    }
}
