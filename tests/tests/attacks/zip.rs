//! Zip archives that promise more than they are.

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
/// What a field of four bytes says when the value stands in the zip64 part.
const WIDE: u32 = u32::MAX;

struct Entry {
    name: String,
    method: u16,
    /// Bytes that are there, and that they are said to become.
    stored: u64,
    size: u64,
    /// Where its local header is.
    at: u32,
}

impl Entry {
    fn local(&self) -> Vec<u8> {
        let sizes = [0, self.stored as u32, self.size.min(WIDE.into()) as u32];
        [LOCAL, &self.common(sizes), &0_u16.to_le_bytes(), self.name.as_bytes()].concat()
    }

    fn central(&self) -> Vec<u8> {
        let extra = [&[1, 0, 16, 0][..], &self.size.to_le_bytes(), &self.stored.to_le_bytes()];
        let extra = extra.concat();
        let mut bytes = [CENTRAL, &[20, 0], &self.common([0, WIDE, WIDE])].concat();
        bytes.extend((extra.len() as u16).to_le_bytes());
        // No comment, first disk, no attributes.
        bytes.extend([0; 10]);
        bytes.extend(self.at.to_le_bytes());
        [&bytes, self.name.as_bytes(), &extra].concat()
    }

    /// What both headers have: version, flags, method, time, date, checksum and sizes, the name's
    /// length.
    fn common(&self, sizes: [u32; 3]) -> Vec<u8> {
        let mut bytes: Vec<u8> = [20, 0, self.method, 0, 0].map(u16::to_le_bytes).concat();
        bytes.extend(sizes.map(u32::to_le_bytes).concat());
        bytes.extend((self.name.len() as u16).to_le_bytes());
        bytes
    }
}

/// An archive of this body and directory, which is said to have so many entries.
fn archive(body: Vec<u8>, directory: &[u8], count: u64) -> Vec<u8> {
    let (from, length) = (body.len() as u64, directory.len() as u64);
    let mut file = [&body, directory].concat();
    let record = file.len() as u64;
    file.extend(b"PK\x06\x06");
    file.extend(44_u64.to_le_bytes());
    file.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend([count, count, length, from].map(u64::to_le_bytes).concat());
    file.extend(b"PK\x06\x07\0\0\0\0");
    file.extend(record.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([0xff; 12]);
    file.extend([0, 0]);
    file
}

fn one(method: u16, stored: u64, size: u64) -> Vec<u8> {
    let entry = Entry { name: "evil/data.pkl".into(), method, stored, size, at: 0 };
    let body = [entry.local(), vec![0; 1000]].concat();
    archive(body, &entry.central(), 1)
}

/// An entry of a kilobyte that is said to have so many bytes.
pub fn claiming(bytes: u64) -> Vec<u8> {
    one(0, bytes, bytes)
}

/// A kilobyte of compressed data that is said to become sixty megabytes.
pub fn deflated() -> Vec<u8> {
    one(8, 1000, 60_000_000)
}

/// A directory that is said to have so many entries and has one.
pub fn counting(entries: u64) -> Vec<u8> {
    let entry = Entry { name: "evil/data.pkl".into(), method: 0, stored: 0, size: 0, at: 0 };
    archive(entry.local(), &entry.central(), entries)
}

/// So many entries that all share the same bytes, as in bombs that need no nesting.
pub fn quoted(entries: u32) -> Vec<u8> {
    let entry = |n: u32| Entry {
        name: format!("evil/data/{n:06}"),
        method: 0,
        stored: 1000,
        size: 1000,
        at: 0,
    };
    let body = [entry(0).local(), vec![0; 1000]].concat();
    let directory: Vec<u8> = (0..entries).flat_map(|n| entry(n).central()).collect();
    archive(body, &directory, entries.into())
}
