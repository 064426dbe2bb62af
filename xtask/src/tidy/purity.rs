//! Core crates are pure: no clock, socket, thread, async or randomness.

use super::Fault;
use super::code::{blank, without_tests};

/// Words that name an effect, and what to do instead.
const EFFECTS: [(&str, &str); 12] = [
    ("Instant", "time comes in as an argument"),
    ("SystemTime", "time comes in as an argument"),
    ("std::net", "sockets and addresses belong to io"),
    ("std::thread", "a core owns no thread"),
    ("std::fs", "files belong to io"),
    ("std::env", "configuration comes in as an argument"),
    ("tokio", "async belongs to io"),
    ("quinn", "QUIC belongs to io/net"),
    ("async", "a core is plain calls"),
    ("await", "a core is plain calls"),
    ("getrandom", "randomness comes in through inputs"),
    ("rand", "randomness comes in through inputs"),
];

/// Faults of one source file of a core crate; none for other files.
pub(super) fn check(path: &str, text: &str) -> Vec<Fault> {
    if !is_core_source(path) {
        return Vec::new();
    }
    let blanked = blank(text, true);
    let mut faults = Vec::new();
    for (number, line) in without_tests(&blanked).lines().enumerate() {
        for (word, instead) in EFFECTS {
            if has_word(line, word) {
                let says = format!("`{word}` in a core crate: {instead}");
                faults.push(Fault::new(path, number + 1, says));
            }
        }
    }
    faults
}

fn is_core_source(path: &str) -> bool {
    path.starts_with("crates/core/")
        && path.contains("/src/")
        && path.ends_with(".rs")
        && !super::sources::is_test(path)
}

/// Whether `word` stands in `line` with no letter, digit or `_` beside it.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let beside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        !beside(line[..at].chars().next_back()) && !beside(line[at + word.len()..].chars().next())
    })
}
