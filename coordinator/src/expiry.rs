//! When a certificate expires. That is all that is read of it here; whether it is any good, rustls says.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::pki_types::CertificateDer;

/// Tags of DER.
const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which the first certificates did not have.
const VERSION: u8 = 0xa0;

/// None of what is no certificate of X.509.
pub fn expiry(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let mut outer = Reader(certificate);
    let mut whole = Reader(outer.take(SEQUENCE)?);
    let mut signed = Reader(whole.take(SEQUENCE)?);
    if signed.next_tag() == Some(VERSION) {
        signed.take(VERSION)?;
    }
    // Serial number, how it is signed, by whom.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        signed.take(tag)?;
    }
    let mut validity = Reader(signed.take(SEQUENCE)?);
    validity.time()?;
    validity.time()
}

/// What is left of a sequence.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn next_tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The contents of the next element, which must be of this kind.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&[found, first], rest) = self.0.split_first_chunk()?;
        if found != tag {
            return None;
        }
        // A short length stands for itself, a long one for how many bytes it has.
        let (length, rest) = match usize::from(first) {
            length @ 0..0x80 => (length, rest),
            long => {
                let (bytes, rest) =
                    rest.split_at_checked(long - 0x80).filter(|(b, _)| b.len() <= 4)?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(contents)
    }

    fn time(&mut self) -> Option<Timestamp> {
        let tag = self.next_tag()?;
        let text = std::str::from_utf8(self.take(tag)?).ok()?;
        let year = match tag {
            GENERALIZED_TIME => "",
            // Two digits of the year, from 1950 on.
            UTC_TIME if text >= "50" => "19",
            UTC_TIME => "20",
            _ => return None,
        };
        let time = DateTime::strptime("%Y%m%d%H%M%SZ", format!("{year}{text}")).ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn made(year: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["farm.example".into()]).unwrap();
        params.not_before = date_time_ymd(1975, 1, 1);
        params.not_after = date_time_ymd(year, 11, 24);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
    }

    #[test]
    fn the_day_is_read_in_either_spelling() {
        for year in [1999, 2026, 2049, 2050, 2999] {
            let day: Timestamp = format!("{year}-11-24T00:00:00Z").parse().unwrap();
            assert_eq!(expiry(&made(year)), Some(day));
        }
    }

    #[test]
    fn what_is_cut_short_or_something_else_has_no_end() {
        let whole = made(2026);
        for end in 0..whole.len() {
            assert_eq!(expiry(&CertificateDer::from(&whole[..end])), None, "{end} bytes");
        }
        for other in [&b"\x30\x84\xff\xff\xff\xff"[..], b"\x30\xff", b"\x30\x80", b"text"] {
            assert_eq!(expiry(&CertificateDer::from(other)), None, "{other:?}");
        }
    }
}
