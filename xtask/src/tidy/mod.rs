//! The rules of the house, each a pure function from text to faults, so that
//! each is tested on a text that breaks it. Start at [`run`].

mod code;
mod documents;
mod layers;
mod licences;
mod metadata;
mod purity;
mod sources;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// One broken rule: where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fault {
    /// Path from the root, or a package's name.
    place: String,
    /// Line in it, from 1; 0 where the whole is meant.
    line: usize,
    /// What is wrong, in words.
    says: String,
}

impl Fault {
    fn new(place: &str, line: usize, says: impl Into<String>) -> Self {
        Self {
            place: place.to_owned(),
            line,
            says: says.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.place, self.says),
            line => write!(f, "{}:{line}: {}", self.place, self.says),
        }
    }
}

/// Every rule on the tree at `root`; the faults in order of place.
pub(crate) fn run(root: &Path) -> Result<Vec<Fault>> {
    let paths = paths(root)?;
    let mut faults = Vec::new();
    let mut functions = BTreeSet::new();
    let mut pages = Vec::new();
    for path in &paths {
        if !is_text(path) {
            continue;
        }
        let bytes = std::fs::read(root.join(path)).with_context(|| path.clone())?;
        let text = String::from_utf8_lossy(&bytes);
        faults.extend(sources::check(path, &text));
        faults.extend(purity::check(path, &text));
        faults.extend(documents::length(path, &text));
        faults.extend(documents::links(path, &text, |target| {
            root.join(target).exists()
        }));
        functions.extend(documents::functions(path, &text));
        if path.ends_with(".md") {
            pages.push((path, text.into_owned()));
        }
    }
    for (path, text) in pages {
        let exists = |name: &str| functions.contains(name);
        faults.extend(documents::tests(path, &text, exists));
    }
    let graph = metadata::load(root)?;
    faults.extend(layers::check(&graph));
    faults.extend(licences::check(&graph));
    faults.sort();
    faults.dedup();
    Ok(faults)
}

/// What git knows or would take: generated and ignored files stay out.
fn paths(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git ls-files")?;
    if !output.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut paths: Vec<String> = String::from_utf8(output.stdout)?
        .lines()
        .filter(|path| root.join(path).is_file())
        .map(str::to_owned)
        .collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

fn is_text(path: &str) -> bool {
    let endings = [
        ".rs", ".ts", ".js", ".mjs", ".svelte", ".md", ".toml", ".css",
    ];
    endings.iter().any(|ending| path.ends_with(ending))
}
