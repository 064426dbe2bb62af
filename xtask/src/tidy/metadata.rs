//! The dependency graph, as `cargo metadata` tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The packages of the workspace and of all it depends on.
#[derive(Debug, Clone, Default)]
pub(super) struct Graph {
    /// By package id.
    pub(super) packages: BTreeMap<String, Package>,
}

/// One package.
#[derive(Debug, Clone, Default)]
pub(super) struct Package {
    pub(super) name: String,
    /// Directory from the root, for members of the workspace.
    pub(super) member: Option<String>,
    pub(super) licence: Option<String>,
    /// Where it comes from; `None` for a path.
    pub(super) source: Option<String>,
    /// Ids of the packages that end up in it (normal and build, not dev).
    pub(super) needs: BTreeSet<String>,
}

impl Graph {
    /// Names of everything that ends up in the package called `name`,
    /// itself included.
    pub(super) fn closure(&self, name: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut names = BTreeSet::new();
        let mut open: Vec<&String> = self
            .packages
            .iter()
            .filter(|(_, package)| package.name == name)
            .map(|(id, _)| id)
            .collect();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            if let Some(package) = self.packages.get(id) {
                names.insert(package.name.as_str());
                open.extend(&package.needs);
            }
        }
        names
    }
}

#[derive(Deserialize)]
struct Raw {
    packages: Vec<RawPackage>,
    resolve: RawResolve,
    workspace_members: BTreeSet<String>,
    workspace_root: String,
}

#[derive(Deserialize)]
struct RawPackage {
    id: String,
    name: String,
    license: Option<String>,
    source: Option<String>,
    manifest_path: String,
}

#[derive(Deserialize)]
struct RawResolve {
    nodes: Vec<RawNode>,
}

#[derive(Deserialize)]
struct RawNode {
    id: String,
    deps: Vec<RawArrow>,
}

#[derive(Deserialize)]
struct RawArrow {
    pkg: String,
    dep_kinds: Vec<RawKind>,
}

#[derive(Deserialize)]
struct RawKind {
    kind: Option<String>,
}

/// Asks cargo.
pub(super) fn load(root: &Path) -> Result<Graph> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--quiet"])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    parse(&output.stdout)
}

fn parse(json: &[u8]) -> Result<Graph> {
    let raw: Raw = serde_json::from_slice(json).context("cargo metadata")?;
    let mut graph = Graph::default();
    for package in raw.packages {
        let directory = package.manifest_path.strip_suffix("/Cargo.toml");
        let member = raw
            .workspace_members
            .contains(&package.id)
            .then(|| directory.and_then(|d| d.strip_prefix(&raw.workspace_root)))
            .flatten()
            .map(|directory| directory.trim_start_matches('/').to_owned());
        graph.packages.insert(
            package.id,
            Package {
                name: package.name,
                member,
                licence: package.license,
                source: package.source,
                needs: BTreeSet::new(),
            },
        );
    }
    for node in raw.resolve.nodes {
        if let Some(package) = graph.packages.get_mut(&node.id) {
            let arrows = node.deps.into_iter().filter(|arrow| {
                let dev = |kind: &RawKind| kind.kind.as_deref() == Some("dev");
                !arrow.dep_kinds.iter().all(dev)
            });
            package.needs = arrows.map(|arrow| arrow.pkg).collect();
        }
    }
    Ok(graph)
}
