//! The bytes of a pickle, taken from the front.

use crate::error::Reason;

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub fn fail<T>(&self, what: impl Into<String>) -> Result<T, Reason> {
        Err(Reason::Pickle { at: self.at, what: what.into() })
    }

    pub fn take(&mut self, len: u64) -> Result<&'a [u8], Reason> {
        let rest = &self.bytes[self.at..];
        if len > rest.len() as u64 {
            return self.fail(format!("it ends within {len} bytes"));
        }
        self.at += len as usize;
        Ok(&rest[..len as usize])
    }

    pub fn byte(&mut self) -> Result<u8, Reason> {
        Ok(self.take(1)?[0])
    }

    /// A little-endian integer of up to eight bytes.
    pub fn uint(&mut self, len: u64) -> Result<u64, Reason> {
        Ok(self.take(len)?.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte)))
    }

    /// The rest of a line, without its end.
    pub fn line(&mut self) -> Result<&'a [u8], Reason> {
        let rest = &self.bytes[self.at..];
        let Some(len) = rest.iter().position(|&byte| byte == b'\n') else {
            return self.fail("it ends within a line");
        };
        self.at += len + 1;
        Ok(&rest[..len])
    }

    pub fn text_line(&mut self) -> Result<&'a str, Reason> {
        let line = self.line()?;
        std::str::from_utf8(line).or_else(|_| self.fail("a name is not text"))
    }

    /// Text of a length that was read before it. Python also lets lone surrogates through.
    pub fn text(&mut self, len: u64) -> Result<Box<str>, Reason> {
        Ok(String::from_utf8_lossy(self.take(len)?).into())
    }
}

/// Undoes the escapes of a quoted Python 2 string, or of a raw-unicode line.
pub(super) fn unescape(line: &[u8]) -> Box<str> {
    let quoted = matches!(line, [b'\'', .., b'\''] | [b'"', .., b'"']);
    let inner = if quoted { &line[1..line.len() - 1] } else { line };
    let mut text = String::new();
    let mut chars = inner.iter().map(|&byte| char::from(byte));
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        let digits = match chars.next() {
            Some('u') => 4,
            Some('U') => 8,
            Some('x') if quoted => 2,
            Some('n') if quoted => {
                text.push('\n');
                continue;
            }
            Some('t') if quoted => {
                text.push('\t');
                continue;
            }
            Some(other) => {
                if !quoted {
                    text.push('\\');
                }
                text.push(other);
                continue;
            }
            None => 0,
        };
        let code = chars.by_ref().take(digits).collect::<String>();
        let code = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
        text.push(code.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    text.into()
}

/// A little-endian two's complement integer, if it fits 64 bits.
pub(super) fn small_long(bytes: &[u8]) -> Option<i64> {
    if bytes.len() > 8 {
        return None;
    }
    let sign = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if sign { 0xff } else { 0 };
    let mut wide = [fill; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Some(i64::from_le_bytes(wide))
}
