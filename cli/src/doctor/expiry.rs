//! What ends on a day of its own: certificates and tokens.

use jiff::{SignedDuration, Timestamp, Unit};

use super::Check;

/// Long enough to have a new one made before the old one ends.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Something that ends, and what to do then.
pub struct Ending {
    pub check: &'static str,
    /// As in `the coordinator's certificate`.
    pub what: &'static str,
    pub remedy: &'static str,
}

pub const CERTIFICATE: Ending = Ending {
    check: "certificate",
    what: "the coordinator's certificate",
    remedy: "put a new one in the place of --tls-cert and --tls-key: the coordinator reads it by itself",
};

pub const OWN_CERTIFICATE: Ending = Ending {
    check: "certificate",
    what: "your certificate",
    remedy: "have whoever vouches for it make a new one, for --cert and --key or the profile",
};

pub const TOKEN: Ending = Ending {
    check: "token",
    what: "your token",
    remedy: "ask the farm's operator for a new one: vqfarm token create",
};

impl Ending {
    /// The check of an end in milliseconds since 1970; none of what has no end.
    pub fn check(&self, end: i64, now: Timestamp) -> Option<Check> {
        let end = Timestamp::from_millisecond(end).ok().filter(|_| end != 0)?;
        let Self { check, what, remedy } = *self;
        let day = end.strftime("%Y-%m-%d");
        let left = end.duration_since(now);
        if left <= SignedDuration::ZERO {
            let text = format!("{what} expired on {day}");
            return Some(Check::missing(check, text, remedy));
        }
        let days = left.round(Unit::Hour).map_or(0, |left| left.as_hours() / 24);
        let text = format!("{what} is good until {day}, for {days} days");
        Some(match left < SOON {
            true => Check::warning(check, text, remedy),
            false => Check::ok(check, text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_time() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let check = |days: i64| {
            let end = now.as_millisecond() + days * 86_400_000;
            CERTIFICATE.check(end, now).unwrap()
        };
        assert_eq!(
            check(15),
            Check::ok(
                "certificate",
                "the coordinator's certificate is good until 2026-12-09, for 15 days"
            )
        );
        let soon = check(13);
        assert!(
            soon.text.contains("2026-12-07, for 13 days") && soon.remedy.contains("--tls-cert")
        );
        assert_eq!(soon.state, super::super::State::Warning);
        let over = check(-1);
        assert!(over.text.ends_with("expired on 2026-11-23"), "{}", over.text);
        assert_eq!(over.state, super::super::State::Missing);
        assert_eq!(check(0).state, super::super::State::Missing);
        assert_eq!(TOKEN.check(0, now), None, "a token for ever");
    }
}
