//! Amounts and times as people write them, the same in the command and on the farm's page.

use std::collections::HashMap;
use std::time::Duration;

use vqfarm_core::requires::Memory;

/// The end of an id: enough for people to tell jobs apart, and for the commands.
pub fn short(id: &str) -> &str {
    id.get(id.len().saturating_sub(8)..).unwrap_or(id)
}

/// `3 min`, of the two largest units at most one.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// `24 GiB`.
pub fn memory(bytes: u64) -> String {
    match Memory::of_bytes(bytes) {
        Ok(_) if bytes == 0 => "-".into(),
        Ok(memory) => memory.to_string(),
        // A worker that does not ask how much there is.
        Err(_) => "any".into(),
    }
}

/// `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// States of jobs or workers, in the order of a life, of those that `counts` has.
pub fn in_order(counts: &HashMap<String, u64>) -> impl Iterator<Item = (&'static str, u64)> {
    const ORDER: [&str; 10] = [
        "running",
        "waiting",
        "paused",
        "failed",
        "done",
        "cancelled",
        "busy",
        "idle",
        "draining",
        "lost",
    ];
    ORDER.iter().filter_map(|state| Some((*state, *counts.get(*state)?)))
}

/// `3 tasks`, `1 task`.
pub fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_what_people_say() {
        let said = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(said(5), "5 s");
        assert_eq!(said(65), "1 min");
        assert_eq!(said(3_900), "1 h 05 min");
        assert_eq!(said(100_000), "1 d 3 h");
    }

    #[test]
    fn states_come_in_the_order_of_a_life() {
        let counts = [("done", 2), ("busy", 1), ("running", 3), ("unheard of", 4)];
        let counts = counts.into_iter().map(|(state, n)| (state.to_owned(), n)).collect();
        let told: Vec<_> = in_order(&counts).collect();
        assert_eq!(told, [("running", 3), ("done", 2), ("busy", 1)]);
    }

    #[test]
    fn numbers_are_grouped_and_ids_cut() {
        assert_eq!((grouped(999), grouped(1_234_567)), ("999".into(), "1,234,567".into()));
        assert_eq!(short("0193a2b4c5d6e7f80123456789abcdef"), "89abcdef");
        assert_eq!(short("abc"), "abc");
    }
}
