//! The documents among themselves: every link leads somewhere, and every page is in the book.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Tag, TagEnd};
use vqfarm_testing::documents::{Page, pages, root};

/// A link of a page: its line and where it leads.
fn links(page: &Page) -> Vec<(usize, String)> {
    let target = |event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
            Some(dest_url.to_string())
        }
        _ => None,
    };
    page.events().filter_map(|(event, at)| Some((page.line(at.start), target(event)?))).collect()
}

/// The anchors of a page's headings, as mdBook and GitHub make them.
fn anchors(page: &Page) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let mut heading = None;
    for (event, _) in page.events() {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => anchors.extend(heading.take().map(|h| slug(&h))),
            _ => (),
        }
    }
    // The second of a name ends in -1, and so on.
    let mut seen: HashMap<String, usize> = HashMap::new();
    for anchor in &mut anchors {
        let before = seen.entry(anchor.clone()).or_default();
        if *before > 0 {
            *anchor = format!("{anchor}-{before}");
        }
        *before += 1;
    }
    anchors
}

fn slug(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter(kept)
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// A path without its `..`; none where it leads out of the repository.
fn settled(path: &Path) -> Option<PathBuf> {
    path.components().try_fold(PathBuf::new(), |mut settled, part| match part {
        Component::ParentDir => settled.pop().then_some(settled),
        part => {
            settled.push(part);
            Some(settled)
        }
    })
}

/// What is wrong with a link of a page.
fn mistake(page: &Page, link: &str, pages: &HashMap<PathBuf, Vec<String>>) -> Option<String> {
    if ["https://", "http://", "mailto:"].iter().any(|scheme| link.starts_with(scheme)) {
        return None;
    }
    let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
    let folder = page.path.parent().unwrap_or(Path::new(""));
    let target = if target.is_empty() { page.path.clone() } else { folder.join(target) };
    let Some(target) = settled(&target).filter(|target| root().join(target).exists()) else {
        return Some("there is no such file".into());
    };
    if page.path.starts_with("docs") && !target.starts_with("docs") {
        return Some("leads out of docs/, where the book ends".into());
    }
    let known = pages.get(&target).is_some_and(|anchors| anchors.iter().any(|a| a == anchor));
    (!anchor.is_empty() && !known).then(|| format!("{} has no heading #{anchor}", target.display()))
}

#[test]
fn every_link_leads_somewhere() {
    let all = pages();
    let anchors: HashMap<_, _> =
        all.iter().map(|page| (page.path.clone(), anchors(page))).collect();
    let mut seen = 0;
    let mut wrong = String::new();
    for page in &all {
        for (line, link) in links(page) {
            seen += 1;
            if let Some(mistake) = mistake(page, &link, &anchors) {
                wrong += &format!("{}:{line}: {link}: {mistake}\n", page.path.display());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(seen > 50, "{seen} links");
}

#[test]
fn every_page_is_in_the_book_once() {
    let pages = pages();
    let summary = pages.iter().find(|page| page.path == Path::new("docs/SUMMARY.md")).unwrap();
    let mut listed: Vec<PathBuf> =
        links(summary).into_iter().map(|(_, link)| Path::new("docs").join(link)).collect();
    listed.sort();
    let paths = pages.iter().map(|page| &page.path);
    let there: Vec<PathBuf> =
        paths.filter(|path| path.starts_with("docs") && **path != summary.path).cloned().collect();
    assert_eq!(listed, there);
}

#[test]
fn anchors_are_those_of_a_browser() {
    let text = "# `vqfarm help`\n\n## It's 3 <b>: what?\n\n## Twice\n\n## Twice\n";
    let page = Page { path: "docs/x.md".into(), text: text.into() };
    assert_eq!(anchors(&page), ["vqfarm-help", "its-3--what", "twice", "twice-1"]);
}
