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
