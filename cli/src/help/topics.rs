//! What can be read about beside the commands: parts of the documentation.

use std::fmt::Write;

/// A subject and where it is written.
#[derive(Debug)]
pub struct Topic {
    pub name: &'static str,
    /// In a line.
    pub about: &'static str,
    parts: &'static [Part],
}

/// A page of the documentation, or those of its sections.
#[derive(Debug)]
struct Part {
    page: &'static str,
    /// By their headings; all of the page where there are none.
    sections: &'static [&'static str],
}

const JOB_FILES: &str = include_str!("../../../docs/job-files.md");
const SWEEPS: &str = include_str!("../../../docs/sweeps.md");
const ANIMATIONS: &str = include_str!("../../../docs/animations.md");
const MODELS: &str = include_str!("../../../docs/models.md");
const COMMAND_LINE: &str = include_str!("../../../docs/command-line.md");
const OPERATING: &str = include_str!("../../../docs/operating.md");

const fn whole(page: &'static str) -> Part {
    Part { page, sections: &[] }
}

/// No topic is called like a command, whose help comes first.
pub const TOPICS: &[Topic] = &[
    Topic {
        name: "job-files",
        about: "What a job file says: every field, its default and its limits",
        parts: &[whole(JOB_FILES)],
    },
    Topic {
        name: "prompts",
        about: "Weights, stops, several prompts at once, phases, pictures, variants",
        parts: &[
            Part { page: JOB_FILES, sections: &["Prompts"] },
            Part { page: SWEEPS, sections: &["Variants in the prompt"] },
            Part { page: ANIMATIONS, sections: &["Prompts over time"] },
        ],
    },
    Topic {
        name: "axes",
        about: "Lists, ranges, files and random draws, and how they combine",
        parts: &[Part { page: SWEEPS, sections: &["Axes", "Combinations", "Order"] }],
    },
    Topic {
        name: "sweeps",
        about: "Grids of pictures from beginning to end",
        parts: &[whole(SWEEPS)],
    },
    Topic {
        name: "schedules",
        about: "Numbers that change over time: keys, words, expressions",
        parts: &[Part { page: ANIMATIONS, sections: &["Schedules", "Motion"] }],
    },
    Topic {
        name: "animations",
        about: "Films: feedback, zoom, video",
        parts: &[whole(ANIMATIONS)],
    },
    Topic {
        name: "outputs",
        about: "Contact sheet, gallery, film, and how to make them again",
        parts: &[
            Part { page: SWEEPS, sections: &["The contact sheet", "The gallery"] },
            Part { page: ANIMATIONS, sections: &["The film", "The film again, and early"] },
        ],
    },
    Topic {
        name: "farm",
        about: "Which farm is meant: profiles, tokens, environment variables",
        parts: &[Part { page: COMMAND_LINE, sections: &["Which farm", "Environment variables"] }],
    },
    Topic { name: "operating", about: "status, top and doctor", parts: &[whole(OPERATING)] },
    Topic {
        name: "model-files",
        about: "Models: pulling, importing, where they are",
        parts: &[whole(MODELS)],
    },
    Topic {
        name: "exit-status",
        about: "What a command's end tells a script, and errors as JSON",
        parts: &[Part { page: COMMAND_LINE, sections: &["Exit status", "Errors"] }],
    },
    Topic {
        name: "shells",
        about: "Completions and manual pages",
        parts: &[Part { page: COMMAND_LINE, sections: &["Completions", "Manual pages"] }],
    },
];

impl Topic {
    /// Its text in Markdown.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for part in self.parts {
            if part.sections.is_empty() {
                text.push_str(part.page);
            }
            for heading in part.sections {
                let _ = writeln!(text, "{}\n", section(part.page, heading).unwrap_or_default());
            }
        }
        text
    }
}

/// A section with its heading of the second level, up to the next one.
fn section<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    let mut starts = page.match_indices("\n## ").map(|(at, _)| at + 1);
    let is_it = |at: &usize| page[*at..].lines().next().is_some_and(|line| &line[3..] == heading);
    let start = starts.by_ref().find(is_it)?;
    let end = starts.next().unwrap_or(page.len());
    Some(page[start..end].trim_end())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_part_of_every_topic_is_written() {
        for topic in TOPICS {
            for part in topic.parts {
                for heading in part.sections {
                    assert!(section(part.page, heading).is_some(), "{}: {heading}", topic.name);
                }
            }
            assert!(topic.text().lines().count() > 5, "{}", topic.name);
        }
    }

    #[test]
    fn no_topic_is_called_like_a_command() {
        let cli = crate::Cli::command();
        for topic in TOPICS {
            let same = cli.get_subcommands().find(|command| command.get_name() == topic.name);
            assert!(same.is_none() && topic.name != "topics", "{}", topic.name);
        }
    }

    #[test]
    fn the_reference_has_every_field_of_a_picture() {
        for name in vqfarm_core::fields::names() {
            assert!(JOB_FILES.contains(&format!("`{name}`")), "{name} is not in docs/job-files.md");
        }
    }

    #[test]
    fn a_section_ends_where_the_next_one_begins() {
        let page = "# A\n\n## One\n\nx\n\n### In it\n\n## Two\ny\n";
        assert_eq!(section(page, "One"), Some("## One\n\nx\n\n### In it"));
        assert_eq!(section(page, "Two"), Some("## Two\ny"));
        assert_eq!(section(page, "Three"), None);
    }

    /// The blocks of a page that are marked as TOML.
    fn examples(page: &str) -> Vec<&str> {
        let blocks = page.split("```toml\n").skip(1);
        blocks.filter_map(|rest| rest.split("```").next()).collect()
    }

    #[test]
    fn the_example_of_profiles_is_one() {
        let examples = examples(COMMAND_LINE);
        let file = examples.iter().find(|example| example.contains("[farm.")).unwrap();
        let path = std::path::Path::new("/config.toml");
        let profiles = crate::profiles::Profiles::parse(path, file).unwrap();
        assert!(profiles.farms.len() >= 2);
    }
}
