//! The tracks of a trace: as many of one name as there are slices of it at one time.

use std::collections::HashMap;

/// A line of the trace on which slices do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    pub id: usize,
}

/// All that there are, and which of them are in use.
#[derive(Default)]
pub struct Tracks {
    /// Those of each name.
    /// Those of each name.
    named: HashMap<String, Vec<usize>>,
    in_use: Vec<bool>,
}

impl Tracks {
    /// The first free track of a name; if it is a new one, what it is called.
    pub fn take(&mut self, name: &str) -> (Track, Option<String>) {
        let own = self.named.entry(name.to_owned()).or_default();
        if let Some(&id) = own.iter().find(|&&id| !self.in_use[id]) {
            self.in_use[id] = true;
            return (Track { id }, None);
        }
        let id = self.in_use.len();
        self.in_use.push(true);
        own.push(id);
        let called = match own.len() {
            1 => name.to_owned(),
            number => format!("{name} {number}"),
        };
        (Track { id }, Some(called))
    }

    pub fn give_back(&mut self, track: Track) {
        self.in_use[track.id] = false;
    }
}
