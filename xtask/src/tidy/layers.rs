//! Arrows between our crates go down, and what only the ends may know stays
//! with the ends.

use super::Fault;
use super::metadata::{Graph, Package};

/// Crates that hold or use the keys of a meeting.
const SECRETS: [&str; 2] = ["darktower-e2ee", "darktower-participant"];

/// Outside crates that seal and open: none of them may end up in a server.
const CRYPTO: [&str; 3] = ["mls-rs", "sframe", "openmls"];

/// Where a package stands, from its directory; arrows lead to smaller
/// numbers.
fn layer(directory: &str) -> Option<u8> {
    Some(match directory {
        "crates/core/wire" => 0,
        "crates/core/participant" => 2,
        "crates/client" | "crates/web-core" => 4,
        "crates/darktower" | "xtask" => 5,
        _ if directory.starts_with("crates/core/") => 1,
        _ if directory.starts_with("crates/io/") => 3,
        _ if directory.starts_with("crates/services/") => 4,
        _ if directory.starts_with("tests/") || directory.starts_with("bench/") => 6,
        _ => return None,
    })
}

/// The layers whose crates may lean on one another; cargo forbids circles.
fn may_lean_on_its_own(layer: u8) -> bool {
    layer == 3 || layer == 6
}

/// Whether the package is an end of a meeting.
fn is_end(directory: &str) -> bool {
    directory == "crates/client"
        || directory == "crates/web-core"
        || directory == "crates/core/e2ee"
        || directory == "crates/core/participant"
        || directory.starts_with("tests/")
        || directory.starts_with("bench/")
}

/// Faults of the whole graph.
pub(super) fn check(graph: &Graph) -> Vec<Fault> {
    let mut faults = Vec::new();
    for package in graph.packages.values() {
        let Some(directory) = package.member.as_deref() else {
            continue;
        };
        let Some(here) = layer(directory) else {
            faults.push(Fault::new(
                &package.name,
                0,
                format!("{directory} is on no layer"),
            ));
            continue;
        };
        faults.extend(arrows(graph, package, directory, here));
        if !is_end(directory) {
            faults.extend(secrets(graph, package));
        }
    }
    faults
}

fn arrows(graph: &Graph, package: &Package, directory: &str, here: u8) -> Vec<Fault> {
    let mut faults = Vec::new();
    for need in &package.needs {
        let Some((needed, there)) = graph.packages.get(need).and_then(|needed| {
            let there = layer(needed.member.as_deref()?)?;
            Some((needed, there))
        }) else {
            continue;
        };
        let level = there == here && may_lean_on_its_own(here);
        if there >= here && !level {
            let says = format!("leans on {}, which is not below it", needed.name);
            faults.push(Fault::new(&package.name, 0, says));
        }
        if directory == "crates/web-core" && there > 2 {
            let says = format!("leans on {}: web-core takes cores alone", needed.name);
            faults.push(Fault::new(&package.name, 0, says));
        }
    }
    faults
}

fn secrets(graph: &Graph, package: &Package) -> Vec<Fault> {
    let closure = graph.closure(&package.name);
    let outside = |name: &str| {
        CRYPTO
            .iter()
            .any(|crypto| name == *crypto || name.starts_with(&format!("{crypto}-")))
    };
    closure
        .into_iter()
        .filter(|name| SECRETS.contains(name) || outside(name))
        .map(|name| {
            let says = format!("links {name}: only the ends of a meeting may");
            Fault::new(&package.name, 0, says)
        })
        .collect()
}
