//! The part of the zip format that PyTorch writes: uncompressed entries, zip64 when large.
//!
//! Everything is checked before use: positions against the file, names against path tricks,
//! entries against one another, contents against their checksums. Compressed entries are listed
//! but never read (PyTorch compresses source code only), so nothing can inflate.

use std::collections::BTreeMap;

use crate::error::Reason;
use crate::source::{Source, u16_at, u32_at, u64_at};

/// Far above what any model has: an entry a tensor, some hundred bytes each.
const MAX_ENTRIES: u64 = 200_000;
const MAX_DIRECTORY: u64 = 32 << 20;
const MAX_NAME: usize = 1024;

const END: &[u8] = b"PK\x05\x06";
const END_LEN: u64 = 22;
const END64: &[u8] = b"PK\x06\x06";
const END64_LEN: u64 = 56;
const LOCATOR64: &[u8] = b"PK\x06\x07";
const LOCATOR64_LEN: u64 = 20;
const CENTRAL: &[u8] = b"PK\x01\x02";
const CENTRAL_LEN: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_LEN: u64 = 30;

/// Where an entry lies and what its bytes must hash to.
struct Entry {
    header: u64,
    data: u64,
    stored: u64,
    size: u64,
    method: u64,
    crc: u32,
}

/// An archive whose directory has been checked.
pub(crate) struct Archive<'a> {
    source: &'a Source<'a>,
    entries: BTreeMap<String, Entry>,
}

impl<'a> Archive<'a> {
    pub fn open(source: &'a Source<'a>) -> Result<Self, Reason> {
        let directory = find_directory(source)?;
        let mut entries = read_directory(source, &directory)?;
        for (name, entry) in &mut entries {
            locate(source, name, entry)?;
        }
        check_overlaps(&entries, directory.from)?;
        Ok(Self { source, entries })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The size of an entry in bytes, if there is one of that name.
    pub fn size(&self, name: &str) -> Option<u64> {
        self.entries.get(name).map(|entry| entry.size)
    }

    /// An entry's bytes, checked against its checksum.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, Reason> {
        let Some(entry) = self.entries.get(name) else {
            return Err(Reason::Zip(format!("no entry `{name}`")));
        };
        if entry.method != 0 || entry.stored != entry.size {
            let what = "is compressed, which PyTorch never does to it";
            return Err(Reason::Zip(format!("entry `{name}` {what}")));
        }
        let bytes = self.source.read(name, entry.data, entry.size)?;
        if crc32fast::hash(&bytes) != entry.crc {
            return Err(Reason::Zip(format!("entry `{name}` does not match its checksum")));
        }
        Ok(bytes)
    }
}

/// The central directory: where it begins, its length, its count of entries.
struct Directory {
    from: u64,
    len: u64,
    count: u64,
}

fn find_directory(source: &Source) -> Result<Directory, Reason> {
    // A comment of up to 64 KiB may follow the end record.
    let tail_len = source.len().min(END_LEN + 0xffff);
    let tail_from = source.len() - tail_len;
    let tail = source.read("the tail", tail_from, tail_len)?;
    let fits = |at: usize| {
        tail[at..].len() as u64 >= END_LEN
            && u16_at(&tail, at + 20) == tail[at..].len() as u64 - END_LEN
    };
    let end = tail.windows(4).rposition(|window| window == END).filter(|&at| fits(at));
    let Some(end) = end else {
        return Err(Reason::Zip("no end record: the file is truncated".into()));
    };
    let end_at = tail_from + end as u64;
    let end = &tail[end..];
    if u16_at(end, 4) != 0 || u16_at(end, 6) != 0 || u16_at(end, 8) != u16_at(end, 10) {
        return Err(Reason::Zip("it is a part of an archive in several parts".into()));
    }
    let mut directory =
        Directory { from: u32_at(end, 16), len: u32_at(end, 12), count: u16_at(end, 10) };
    let mut limit = end_at;
    if directory.from == 0xffff_ffff || directory.len == 0xffff_ffff || directory.count == 0xffff {
        (directory, limit) = find_directory64(source, end_at)?;
    }
    let to = directory.from.checked_add(directory.len).filter(|&to| to <= limit);
    if to.is_none() || directory.count > directory.len / CENTRAL_LEN as u64 {
        return Err(Reason::Zip("its directory lies outside the file".into()));
    }
    for (what, found, limit) in [
        ("the number of entries", directory.count, MAX_ENTRIES),
        ("the directory's length", directory.len, MAX_DIRECTORY),
    ] {
        if found > limit {
            return Err(Reason::Limit { what: what.into(), found, limit });
        }
    }
    Ok(directory)
}

/// The zip64 record, found through its locator just before the end record.
fn find_directory64(source: &Source, end_at: u64) -> Result<(Directory, u64), Reason> {
    let damaged = || Reason::Zip("its zip64 end record is missing or damaged".into());
    let locator_at = end_at.checked_sub(LOCATOR64_LEN).ok_or_else(damaged)?;
    let locator = source.read("the zip64 locator", locator_at, LOCATOR64_LEN)?;
    let record_at = u64_at(&locator, 8);
    let room = locator_at.checked_sub(record_at).filter(|&room| room >= END64_LEN);
    if !locator.starts_with(LOCATOR64) || room.is_none() {
        return Err(damaged());
    }
    let record = source.read("the zip64 end record", record_at, END64_LEN)?;
    if !record.starts_with(END64) {
        return Err(damaged());
    }
    let directory = Directory {
        from: u64_at(&record, 48),
        len: u64_at(&record, 40),
        count: u64_at(&record, 32),
    };
    Ok((directory, record_at))
}

fn read_directory(
    source: &Source,
    directory: &Directory,
) -> Result<BTreeMap<String, Entry>, Reason> {
    let bytes = source.read("the directory", directory.from, directory.len)?;
    let mut rest = bytes.as_slice();
    let mut entries = BTreeMap::new();
    for _ in 0..directory.count {
        let damaged = || Reason::Zip("its directory is damaged".into());
        if rest.len() < CENTRAL_LEN || !rest.starts_with(CENTRAL) {
            return Err(damaged());
        }
        let name_len = u16_at(rest, 28) as usize;
        let extra_len = u16_at(rest, 30) as usize;
        let comment_len = u16_at(rest, 32) as usize;
        let variable =
            rest[CENTRAL_LEN..].get(..name_len + extra_len + comment_len).ok_or_else(damaged)?;
        let name = check_name(&variable[..name_len])?;
        if u16_at(rest, 8) & 1 != 0 {
            return Err(Reason::Zip(format!("entry `{name}` is encrypted")));
        }
        let mut entry = Entry {
            header: u32_at(rest, 42),
            data: 0,
            stored: u32_at(rest, 20),
            size: u32_at(rest, 24),
            method: u16_at(rest, 10),
            crc: u32_at(rest, 16) as u32,
        };
        widen(&name, &mut entry, &variable[name_len..name_len + extra_len])?;
        rest = &rest[CENTRAL_LEN + variable.len()..];
        if entries.insert(name.clone(), entry).is_some() {
            return Err(Reason::Zip(format!("entry `{name}` occurs twice")));
        }
    }
    if !rest.is_empty() {
        return Err(Reason::Zip("its directory holds more than it counts".into()));
    }
    Ok(entries)
}

/// Takes the values that do not fit 32 bits from the zip64 extra field.
fn widen(name: &str, entry: &mut Entry, mut extra: &[u8]) -> Result<(), Reason> {
    let mut wide: Vec<&mut u64> = [&mut entry.size, &mut entry.stored, &mut entry.header]
        .into_iter()
        .filter(|value| **value == 0xffff_ffff)
        .collect();
    if wide.is_empty() {
        return Ok(());
    }
    let missing = || Reason::Zip(format!("entry `{name}` lacks its zip64 sizes"));
    loop {
        if extra.len() < 4 {
            return Err(missing());
        }
        let (id, len) = (u16_at(extra, 0), u16_at(extra, 2) as usize);
        let field = extra[4..].get(..len).ok_or_else(missing)?;
        if id == 1 {
            if field.len() < 8 * wide.len() {
                return Err(missing());
            }
            wide.iter_mut().enumerate().for_each(|(i, value)| **value = u64_at(field, 8 * i));
            return Ok(());
        }
        extra = &extra[4 + len..];
    }
}

/// Entry names become lookups only, never paths; a name with path tricks is a sign of ill intent.
fn check_name(bytes: &[u8]) -> Result<String, Reason> {
    let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
    let name = std::str::from_utf8(bytes).ok().filter(|name| {
        (1..=MAX_NAME).contains(&name.len())
            && !name.contains(['\\', ':', '\0'])
            && !name.starts_with('/')
            && name.split('/').all(|part| part != ".." && part != ".")
    });
    name.map(str::to_owned)
        .ok_or_else(|| Reason::Zip(format!("entry name `{}` is not a plain path", shown())))
}

/// Finds an entry's data behind its local header, which must agree with the directory.
fn locate(source: &Source, name: &str, entry: &mut Entry) -> Result<(), Reason> {
    let header = source.read(name, entry.header, LOCAL_LEN)?;
    let name_len = u16_at(&header, 26);
    let extra_len = u16_at(&header, 28);
    let same = header.starts_with(LOCAL)
        && u16_at(&header, 8) == entry.method
        && name_len == name.len() as u64
        && source.read(name, entry.header + LOCAL_LEN, name_len)? == name.as_bytes();
    if !same {
        let what = "has a local header that contradicts the directory";
        return Err(Reason::Zip(format!("entry `{name}` {what}")));
    }
    entry.data = entry.header + LOCAL_LEN + name_len + extra_len;
    Ok(())
}

fn check_overlaps(entries: &BTreeMap<String, Entry>, directory: u64) -> Result<(), Reason> {
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_by_key(|(_, entry)| entry.header);
    let next = sorted.iter().skip(1).map(|(_, entry)| entry.header).chain([directory]);
    for ((name, entry), next) in sorted.iter().zip(next) {
        if entry.data.checked_add(entry.stored).is_none_or(|end| end > next) {
            let what = "overlaps what follows it, or its size is wrong";
            return Err(Reason::Zip(format!("entry `{name}` {what}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `widen` makes of an entry whose size and position do not fit 32 bits.
    fn widened(extra: &[u8]) -> Option<(u64, u64, u64)> {
        let wide = 0xffff_ffff;
        let mut entry = Entry { header: wide, data: 0, stored: 7, size: wide, method: 0, crc: 0 };
        widen("x", &mut entry, extra).ok()?;
        Some((entry.size, entry.stored, entry.header))
    }

    #[test]
    fn only_what_does_not_fit_is_taken_from_the_extra_field() {
        let field = |id: u16, values: &[u64]| {
            let mut bytes = id.to_le_bytes().to_vec();
            bytes.extend((8 * values.len() as u16).to_le_bytes());
            values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
            bytes
        };
        let (size, header) = (5 << 32, 6 << 32);
        assert_eq!(widened(&field(1, &[size, header])), Some((size, 7, header)));
        let behind_another = [field(9, &[1]), field(1, &[size, header])].concat();
        assert_eq!(widened(&behind_another), Some((size, 7, header)));
        assert_eq!(widened(&field(1, &[size])), None);
        assert_eq!(widened(&field(9, &[size, header])), None);
        assert_eq!(widened(&field(1, &[size, header])[..12]), None);
        assert_eq!(widened(&[]), None);
    }
}
