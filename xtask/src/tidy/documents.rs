//! Documents stay short and their links lead somewhere.

use super::Fault;

/// Faults of length, for the documents that have a bound.
pub(super) fn length(path: &str, text: &str) -> Option<Fault> {
    let bound = match path {
        "docs/ARCHITECTURE.md" => 400,
        _ if path.starts_with("docs/decisions/") && path.ends_with(".md") => 80,
        _ => return None,
    };
    let lines = text.lines().count();
    (lines > bound).then(|| {
        Fault::new(
            path,
            0,
            format!("{lines} lines, more than {bound}: say it shorter"),
        )
    })
}

/// Relative links of a Markdown page that lead nowhere; `exists` answers for
/// a path from the root.
pub(super) fn links(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Fault> {
    if !path.ends_with(".md") {
        return Vec::new();
    }
    let mut faults = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for target in targets(line) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            if !resolve(path, file).is_some_and(|place| exists(&place)) {
                let says = format!("the link `{target}` leads nowhere");
                faults.push(Fault::new(path, number + 1, says));
            }
        }
    }
    faults
}

/// The page that says which test shows what.
const TESTS: &str = "docs/testing.md";

/// Functions defined in a Rust file, by name.
pub(super) fn functions(path: &str, text: &str) -> Vec<String> {
    if !path.ends_with(".rs") {
        return Vec::new();
    }
    let definitions = text.lines().filter_map(|line| line.split_once("fn "));
    let names = definitions.map(|(_, rest)| rest.split(['(', '<']).next().unwrap_or_default());
    names.map(str::to_owned).collect()
}

/// Tests that [`TESTS`] names in the last column of its tables and that are not there.
pub(super) fn tests(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Fault> {
    let mut faults = Vec::new();
    if path != TESTS {
        return faults;
    }
    for (number, line) in text.lines().enumerate() {
        let Some(row) = line.strip_suffix('|') else {
            continue;
        };
        let named = row.rsplit('|').next().unwrap_or_default();
        for name in named.split('`').skip(1).step_by(2) {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.chars().all(is_name) && !exists(name) {
                let says = format!("no test is called `{name}`");
                faults.push(Fault::new(path, number + 1, says));
            }
        }
    }
    faults
}

/// The targets of `[text](target)` outside inline code.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (index, part) in line.split('`').enumerate() {
        // Between an odd and the next backtick is code; a link whose text is
        // code still has its target in the part after it.
        if index % 2 == 1 {
            continue;
        }
        for piece in part.split("](").skip(1) {
            if let Some(target) = piece.split(')').next() {
                found.push(target.split(' ').next().unwrap_or(target));
            }
        }
    }
    found
}

/// `link` on page `page` as a path from the root; `None` outside of it.
fn resolve(page: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    if let Some(absolute) = link.strip_prefix('/') {
        return Some(absolute.to_owned());
    }
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
