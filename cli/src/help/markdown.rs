//! The documentation's Markdown on a terminal.

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

const CODE: Style = AnsiColor::Cyan.on_default();

/// A page in lines of at most `width` columns, but for code, which is left as it is.
pub fn rendered(text: &str, width: usize) -> String {
    let mut page = Page { width, ..Page::default() };
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        page.take(event);
    }
    page.out
}

#[derive(Default)]
struct Page {
    width: usize,
    out: String,
    /// Words of the paragraph so far, each styled, with its width.
    words: Vec<(String, usize)>,
    /// Whether the next text goes on with the last word.
    glued: bool,
    style: Style,
    /// Depth of lists.
    lists: usize,
    /// In front of the next line.
    bullet: bool,
    in_code: bool,
    table: Vec<Vec<String>>,
    in_table: bool,
}

impl Page {
    fn take(&mut self, event: Event) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.in_code => {
                for line in text.lines() {
                    if !line.is_empty() {
                        self.out.push_str("    ");
                        self.out.push_str(&paint(CODE.dimmed(), line));
                    }
                    self.out.push('\n');
                }
            }
            Event::Text(text) => self.text(&text, self.style),
            Event::Code(text) => self.text(&text, CODE),
            Event::SoftBreak | Event::HardBreak => self.glued = false,
            _ => (),
        }
    }

    fn start(&mut self, tag: Tag) {
        match tag {
            Tag::Heading { level, .. } => {
                self.blank();
                let bold = Style::new().bold();
                self.style = if level == HeadingLevel::H1 { bold.underline() } else { bold };
            }
            Tag::Paragraph if self.lists == 0 => self.blank(),
            Tag::CodeBlock(_) => {
                self.blank();
                self.in_code = true;
            }
            Tag::List(_) => {
                self.flush();
                if self.lists == 0 {
                    self.blank();
                }
                self.lists += 1;
            }
            Tag::Item => self.bullet = true,
            Tag::Emphasis => self.style = self.style.italic(),
            Tag::Strong => self.style = self.style.bold(),
            Tag::Table(_) => {
                self.blank();
                self.in_table = true;
            }
            Tag::TableHead | Tag::TableRow => self.table.push(Vec::new()),
            Tag::TableCell => {
                if let Some(row) = self.table.last_mut() {
                    row.push(String::new());
                }
            }
            _ => (),
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                self.flush();
                self.style = Style::new();
            }
            TagEnd::Paragraph | TagEnd::Item => self.flush(),
            TagEnd::CodeBlock => self.in_code = false,
            TagEnd::List(_) => self.lists -= 1,
            TagEnd::Emphasis | TagEnd::Strong => self.style = Style::new(),
            TagEnd::Table => self.print_table(),
            _ => (),
        }
    }

    fn text(&mut self, text: &str, style: Style) {
        if let Some(cell) =
            self.table.last_mut().and_then(|row| row.last_mut()).filter(|_| self.in_table)
        {
            cell.push_str(text);
            return;
        }
        self.glued &= !text.starts_with(char::is_whitespace);
        for word in text.split_whitespace() {
            let (painted, width) = (paint(style, word), word.chars().count());
            match self.words.last_mut().filter(|_| self.glued) {
                Some((last, len)) => {
                    last.push_str(&painted);
                    *len += width;
                }
                None => self.words.push((painted, width)),
            }
            self.glued = false;
        }
        self.glued = !text.ends_with(char::is_whitespace) && !text.is_empty();
    }

    /// A blank line, unless there is one.
    fn blank(&mut self) {
        self.flush();
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    /// Prints the words in lines.
    fn flush(&mut self) {
        self.glued = false;
        if self.words.is_empty() {
            return;
        }
        let indent = 2 * self.lists;
        let mut at = 0;
        for (word, len) in std::mem::take(&mut self.words) {
            if at > 0 && at + 1 + len > self.width {
                self.out.push('\n');
                at = 0;
            }
            if at == 0 {
                let bullet = std::mem::take(&mut self.bullet) && indent >= 2;
                let margin = " ".repeat(if bullet { indent - 2 } else { indent });
                self.out.push_str(&margin);
                self.out.push_str(if bullet { "• " } else { "" });
                at = indent;
            } else {
                self.out.push(' ');
                at += 1;
            }
            self.out.push_str(&word);
            at += len;
        }
        self.out.push('\n');
    }

    fn print_table(&mut self) {
        self.in_table = false;
        let mut rows = std::mem::take(&mut self.table).into_iter();
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(u16::try_from(self.width).unwrap_or(80));
        let head = rows.next().filter(|head| head.iter().any(|cell| !cell.is_empty()));
        rows.for_each(|row| {
            table.add_row(row);
        });
        if let Some(head) = head {
            table.set_header(head);
        }
        let has_head = table.header().is_some();
        for (n, line) in table.to_string().lines().enumerate() {
            // Cells are padded by a blank on each side.
            let line = line.trim_end();
            let line = line.strip_prefix(' ').unwrap_or(line);
            let bold = n == 0 && has_head;
            let line = if bold { paint(Style::new().bold(), line) } else { line.to_owned() };
            self.out.push_str(&line);
            self.out.push('\n');
        }
    }
}

fn paint(style: Style, text: &str) -> String {
    if style == Style::new() { text.to_owned() } else { format!("{style}{text}{style:#}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str, width: usize) -> String {
        anstream::adapter::strip_str(&rendered(text, width)).to_string()
    }

    #[test]
    fn a_page_is_laid_out() {
        let text = "# Title\n\nSome `code(1)`, and **bold** words that\ngo on.\n\n\
                    - one item that is long\n- two\n\n```toml\na   = 1\n  b = 2\n```\n\n\
                    | field | default |\n|---|---|\n| `seed` | 0 |\n";
        let expected = "Title\n\nSome code(1), and\nbold words that go\non.\n\n\
                        • one item that is\n  long\n• two\n\n    a   = 1\n      b = 2\n\n\
                        field  default\nseed   0\n";
        assert_eq!(plain(text, 18), expected);
    }

    #[test]
    fn headings_are_bold_and_code_is_coloured() {
        let text = rendered("# T\n\n`x`\n", 80);
        assert!(text.starts_with("\u{1b}[1m") && text.contains("\u{1b}[36mx"), "{text:?}");
    }
}
