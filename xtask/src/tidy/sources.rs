//! Rules on single source files: length, opening words, names, unfinished
//! work, and tests that skip or sleep.

use super::Fault;
use super::code::blank;
use super::purity::has_word;

/// Longest source file, in lines.
const LINES: usize = 600;

/// Words that name nothing, in the shape they take in types.
const EMPTY_WORDS: [&str; 4] = ["Manager", "Helper", "Util", "Common"];

/// What introduces a name of ours.
const INTRODUCERS: [&str; 10] = [
    "struct",
    "enum",
    "trait",
    "type",
    "mod",
    "fn",
    "class",
    "interface",
    "function",
    "const",
];

/// Faults of one source file, by its path from the root.
pub(super) fn check(path: &str, text: &str) -> Vec<Fault> {
    let rust = path.ends_with(".rs");
    let source = rust
        || [".ts", ".js", ".mjs", ".svelte"]
            .iter()
            .any(|e| path.ends_with(e));
    if !source || is_generated(path) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    faults.extend(length(path, text));
    faults.extend(opening(path, text));
    faults.extend(file_name(path));
    faults.extend(unfinished(path, text));
    let blanked = blank(text, rust);
    faults.extend(names(path, &blanked));
    faults.extend(if rust {
        rust_tests(path, &blanked)
    } else {
        web_tests(path, &blanked)
    });
    faults
}

fn is_generated(path: &str) -> bool {
    path.contains("/gen/") || path.contains("/generated/") || path.ends_with(".d.ts")
}

/// Whether the file holds tests alone.
pub(super) fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.starts_with("tests/cluster/")
        || (path.starts_with("web/e2e/") && !path.starts_with("web/e2e/bench/"))
        || path.contains("/tests/")
        || name == "tests.rs"
        || name.ends_with("_tests.rs")
        || name.contains(".test.")
        || name.contains(".spec.")
}

fn length(path: &str, text: &str) -> Option<Fault> {
    let lines = text.lines().count();
    (lines > LINES).then(|| {
        let says = format!("{lines} lines, more than {LINES}: split it by thought");
        Fault::new(path, 0, says)
    })
}

fn opening(path: &str, text: &str) -> Option<Fault> {
    (path.ends_with("/lib.rs") && !text.starts_with("//!")).then(|| {
        let says = "does not open with `//!`: what it is, what it must not do, where to start";
        Fault::new(path, 1, says)
    })
}

fn file_name(path: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for part in path.split('/') {
        let stem = part.split('.').next().unwrap_or(part);
        let parts: Vec<String> = stem.split(['_', '-']).map(str::to_lowercase).collect();
        for word in EMPTY_WORDS {
            let small = word.to_lowercase();
            if parts
                .iter()
                .any(|p| *p == small || *p == format!("{small}s"))
            {
                faults.push(Fault::new(path, 0, format!("`{word}` names nothing")));
            }
        }
    }
    faults
}

fn unfinished(path: &str, text: &str) -> Vec<Fault> {
    // In two halves, so that this file passes its own rule.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for mark in marks {
            if has_word(line, mark) {
                faults.push(Fault::new(
                    path,
                    number + 1,
                    "unfinished: do it or open an issue",
                ));
            }
        }
    }
    faults
}

fn names(path: &str, blanked: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (number, line) in blanked.lines().enumerate() {
        let words: Vec<&str> = line
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .filter(|word| !word.is_empty())
            .collect();
        for pair in words.windows(2) {
            if !INTRODUCERS.contains(&pair[0]) {
                continue;
            }
            for empty in EMPTY_WORDS {
                if names_nothing(pair[1], empty) {
                    let says = format!("`{}`: `{empty}` names nothing", pair[1]);
                    faults.push(Fault::new(path, number + 1, says));
                }
            }
        }
    }
    faults
}

/// Whether `empty` is one of the words a name is made of.
fn names_nothing(name: &str, empty: &str) -> bool {
    let small = empty.to_lowercase();
    let snake = name.split('_').map(str::to_lowercase);
    if snake
        .into_iter()
        .any(|part| part == small || part == format!("{small}s"))
    {
        return true;
    }
    name.match_indices(empty).any(|(at, _)| {
        let next = name[at + empty.len()..]
            .trim_start_matches('s')
            .chars()
            .next();
        next.is_none_or(|c| !c.is_lowercase())
    })
}

fn rust_tests(path: &str, blanked: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let tests_from = if is_test(path) {
        0
    } else {
        super::code::without_tests(blanked).lines().count()
    };
    for (number, line) in blanked.lines().enumerate() {
        if line.contains("#[ignore") {
            faults.push(Fault::new(
                path,
                number + 1,
                "a test that is skipped proves nothing",
            ));
        }
        let calls =
            line.contains("sleep(") && has_word(line, "sleep") && !line.contains("fn sleep(");
        if number >= tests_from && calls {
            faults.push(Fault::new(
                path,
                number + 1,
                "a sleep in a test: wait for a state with a deadline",
            ));
        }
    }
    faults
}

fn web_tests(path: &str, blanked: &str) -> Vec<Fault> {
    if !is_test(path) {
        return Vec::new();
    }
    let skips = ["it", "test", "describe", "suite"]
        .iter()
        .flat_map(|name| [format!("{name}.skip("), format!("{name}.only(")])
        .collect::<Vec<_>>();
    let mut faults = Vec::new();
    for (number, line) in blanked.lines().enumerate() {
        if skips.iter().any(|skip| line.contains(skip.as_str())) {
            faults.push(Fault::new(
                path,
                number + 1,
                "a test that is skipped proves nothing",
            ));
        }
        if ["sleep(", "waitForTimeout("]
            .iter()
            .any(|call| line.contains(call))
        {
            faults.push(Fault::new(
                path,
                number + 1,
                "a sleep in a test: wait for a state with a deadline",
            ));
        }
    }
    faults
}
