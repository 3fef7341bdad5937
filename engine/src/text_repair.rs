//! Undoes the damage that prompts suffer on their way: what ftfy's `fix_text` does, for the
//! cases that change CLIP's tokens.
//!
//! Mojibake is UTF-8 that was read as Windows-1252 or Latin-1 ("cafÃ©"); where re-encoding
//! gives valid UTF-8 the result is taken. Then ligatures, full-width forms, curly quotes,
//! line ends and control characters become their plain forms, and the text is composed (NFC).

use unicode_normalization::UnicodeNormalization;

/// Repairs a whole text.
pub fn fix_text(text: &str) -> String {
    let text =
        if text.contains('<') { text.to_owned() } else { htmlize::unescape(text).into_owned() };
    let text = fix_encoding(&strip_terminal_escapes(&text));
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {
                if chars.peek() == Some(&'\n') {
                    chars.next();
                }
                out.push('\n');
            }
            '\u{2028}' | '\u{2029}' | '\u{85}' => out.push('\n'),
            _ if is_stray_control(c) => {}
            _ => push_plain(c, &mut out),
        }
    }
    out.nfc().collect()
}

fn push_plain(c: char, out: &mut String) {
    match c {
        '\u{2018}'..='\u{201b}' | '\u{2bc}' => out.push('\''),
        '\u{201c}'..='\u{201f}' => out.push('"'),
        'ŉ' => out.push_str("'n"),
        'Ĳ' | 'ĳ' | 'Ǳ'..='ǳ' | 'Ǆ'..='ǌ' | 'ﬀ'..='ﬆ' => {
            out.extend(std::iter::once(c).nfkc())
        }
        // Full-width and half-width forms, and the ideographic space.
        '\u{ff01}'..='\u{ffef}' | '\u{3000}' => out.extend(std::iter::once(c).nfkc()),
        _ => out.push(c),
    }
}

/// Control characters that have no place in a text, as ftfy lists them.
fn is_stray_control(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}'
        | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}')
}

/// Removes `ESC [ … m` and its kin.
fn strip_terminal_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        let body = &rest[at + 2..];
        let end = body.find(|c: char| !(c.is_ascii_digit() || c == ';')).unwrap_or(body.len());
        out.push_str(&rest[..at]);
        match body[end..].chars().next() {
            Some(last) if last.is_ascii_alphabetic() => rest = &body[end + 1..],
            _ => {
                out.push_str("\u{1b}[");
                rest = body;
            }
        }
    }
    out + rest
}

/// Undoes wrong decodings, several deep, until nothing changes.
fn fix_encoding(text: &str) -> String {
    let mut text = text.to_owned();
    // Each round shortens the text, so this ends; four is deeper than seen in the wild.
    for _ in 0..4 {
        match redecode(&text).or_else(|| redecode_parts(&text)) {
            Some(better) if better != text => text = better,
            _ => break,
        }
    }
    text.chars()
        .map(|c| if ('\u{80}'..='\u{9f}').contains(&c) { windows_1252(c as u8) } else { c })
        .collect()
}

/// The whole text, if it is UTF-8 misread as Windows-1252 with Latin-1 in its gaps.
fn redecode(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let bytes: Vec<u8> = text.chars().map(to_byte).collect::<Option<_>>()?;
    String::from_utf8(bytes).ok()
}

/// The runs of a text that are misread UTF-8 beside others that are not.
fn redecode_parts(text: &str) -> Option<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut changed = false;
    let mut i = 0;
    while i < chars.len() {
        let width = to_byte(chars[i]).map_or(0, |b| match b {
            0xc2..=0xdf => 2,
            0xe2..=0xef => 3,
            0xf0 => 4,
            _ => 0,
        });
        let bytes: Option<Vec<u8>> = (width > 0)
            .then(|| chars.get(i..i + width))
            .flatten()
            .and_then(|run| run.iter().map(|c| to_byte(*c)).collect());
        match bytes.and_then(|b| String::from_utf8(b).ok()) {
            // A lone two-letter run such as "Ã " may be real text in capitals; three and
            // more never are.
            Some(fixed) if width > 2 || chars[i + 1] as u32 >= 0xa1 => {
                out.push_str(&fixed);
                changed = true;
                i += width;
            }
            _ => {
                out.push(chars[i]);
                i += 1;
            }
        }
    }
    changed.then_some(out)
}

/// The Windows-1252 characters of bytes 0x80–0x9f; the five gaps stay control characters.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}', '•', '–', '—', '˜', '™', 'š', '›',
    'œ', '\u{9d}', 'ž', 'Ÿ',
];

fn windows_1252(byte: u8) -> char {
    match byte {
        0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

fn to_byte(c: char) -> Option<u8> {
    if let Some(at) = WINDOWS_1252.iter().position(|w| *w == c) {
        return Some(0x80 + at as u8);
    }
    u8::try_from(u32::from(c)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inputs and what ftfy 6.3 makes of them.
    #[test]
    fn repairs_what_ftfy_repairs() {
        for (broken, fixed) in [
            ("cafÃ©", "café"),
            ("naÃ¯ve â€” cafÃ©", "naïve — café"),
            ("â€œquotedâ€\u{9d}", "\"quoted\""),
            ("ðŸŽ¨ paint", "🎨 paint"),
            ("ÃƒÂ©", "é"),
            ("ﬁ ligature", "fi ligature"),
            ("ＦＵＬＬ", "FULL"),
            ("it\u{2019}s", "it's"),
            ("a\r\nb", "a\nb"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("&lt;b&gt; &amp;", "<b> &"),
            ("Ã¢â‚¬Å“hi", "\"hi"),
            ("SÃO PAULO", "SÃO PAULO"),
            ("l’humanitÃ©", "l'humanité"),
            ("① ½ Ⅷ", "① ½ Ⅷ"),
            ("Ä°stanbul", "İstanbul"),
            ("ĲSSEL ŉ ǆ", "IJSSEL 'n dž"),
            ("âœ” No problems", "✔ No problems"),
            ("rÃ©sumÃ© of é", "résumé of é"),
            ("ÃÃ", "ÃÃ"),
            ("plain café 日本語", "plain café 日本語"),
        ] {
            assert_eq!(fix_text(broken), fixed, "{broken:?}");
        }
    }
}
