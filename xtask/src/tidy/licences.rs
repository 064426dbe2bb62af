//! What we depend on is free to use and comes from a registry; one crypto
//! provider for TLS.

use super::Fault;
use super::metadata::Graph;

/// Licences that ask for no more than being named.
const PERMITTED: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that must not come in, and why.
const BANNED: [(&str, &str); 3] = [
    ("openssl-sys", "rustls with ring is the one TLS"),
    ("native-tls", "rustls with ring is the one TLS"),
    ("aws-lc-sys", "ring is the one crypto provider"),
];

/// Faults of every package from outside.
pub(super) fn check(graph: &Graph) -> Vec<Fault> {
    let mut faults = Vec::new();
    for package in graph.packages.values() {
        if let Some((_, why)) = BANNED.iter().find(|(name, _)| *name == package.name) {
            faults.push(Fault::new(&package.name, 0, format!("is banned: {why}")));
        }
        if package.member.is_some() {
            continue;
        }
        if package
            .source
            .as_deref()
            .is_some_and(|s| s.starts_with("git+"))
        {
            faults.push(Fault::new(&package.name, 0, "comes from a git address"));
        }
        let Some(licence) = package.licence.as_deref() else {
            faults.push(Fault::new(&package.name, 0, "names no licence"));
            continue;
        };
        if !permits(licence) {
            let says = format!("its licence `{licence}` is not on the list");
            faults.push(Fault::new(&package.name, 0, says));
        }
    }
    faults
}

/// Whether an SPDX expression can be met with permitted licences alone.
pub(super) fn permits(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let verdict = either(&words, &mut at);
    verdict && at == words.len()
}

fn either(words: &[&str], at: &mut usize) -> bool {
    let mut verdict = all(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        verdict |= all(words, at);
    }
    verdict
}

fn all(words: &[&str], at: &mut usize) -> bool {
    let mut verdict = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        verdict &= one(words, at);
    }
    verdict
}

fn one(words: &[&str], at: &mut usize) -> bool {
    let Some(word) = words.get(*at) else {
        return false;
    };
    *at += 1;
    if *word == "(" {
        let verdict = either(words, at);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return verdict && closed;
    }
    if words.get(*at) == Some(&"WITH") {
        let exception = words.get(*at + 1).copied().unwrap_or_default();
        *at += 2;
        return PERMITTED.contains(&format!("{word} WITH {exception}").as_str());
    }
    PERMITTED.contains(word)
}
