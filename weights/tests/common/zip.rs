//! Zip archives that may lie.

/// An entry; the optional fields replace what would be true.
pub struct Entry {
    pub name: String,
    pub bytes: Vec<u8>,
    pub crc: Option<u32>,
    pub flags: u16,
    pub method: u16,
    pub size: Option<u32>,
    pub header: Option<u32>,
    pub local_name: Option<&'static str>,
}

impl Entry {
    pub fn new(name: &str, bytes: Vec<u8>) -> Self {
        Self {
            name: name.to_owned(),
            bytes,
            crc: None,
            flags: 0,
            method: 0,
            size: None,
            header: None,
            local_name: None,
        }
    }
}

pub fn write(entries: &[Entry]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let header = entry.header.unwrap_or(file.len() as u32);
        let crc = entry.crc.unwrap_or_else(|| crc32fast::hash(&entry.bytes));
        let size = entry.size.unwrap_or(entry.bytes.len() as u32);
        // Version, flags, method, time and date; then checksum, sizes and lengths.
        let mut common = Vec::new();
        for field in [20, entry.flags, entry.method, 0, 0] {
            common.extend(field.to_le_bytes());
        }
        for field in [crc, size, size] {
            common.extend(field.to_le_bytes());
        }
        common.extend((entry.name.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes());

        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend(entry.local_name.unwrap_or(&entry.name).as_bytes());
        file.extend(&entry.bytes);

        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        // No comment, first disk, no attributes.
        directory.extend([0; 10]);
        directory.extend(header.to_le_bytes());
        directory.extend(entry.name.as_bytes());
    }
    let (at, count) = (file.len() as u32, entries.len() as u16);
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(at.to_le_bytes());
    file.extend([0, 0]);
    file
}

/// Moves the directory's place, length and count of an archive into a zip64 end record, as archives
/// over 4 GiB have them.
pub fn widen(mut file: Vec<u8>) -> Vec<u8> {
    let end = file.split_off(file.len() - 22);
    let field = |at: usize, len: usize| -> u64 {
        end[at..at + len].iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte))
    };
    let (count, len, from) = (field(10, 2), field(12, 4), field(16, 4));
    let record = file.len() as u64;
    file.extend(b"PK\x06\x06");
    file.extend(44u64.to_le_bytes());
    file.extend([45, 0, 45, 0]);
    file.extend([0; 8]);
    [count, count, len, from].iter().for_each(|value| file.extend(value.to_le_bytes()));
    file.extend(b"PK\x06\x07\0\0\0\0");
    file.extend(record.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([0xff; 12]);
    file.extend([0, 0]);
    file
}
