//! The repository's own chores: `cargo xtask gen` writes generated code,
//! `cargo xtask gen --check` fails where it is stale.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["gen"] => generate(false),
        ["gen", "--check"] => generate(true),
        _ => bail!("usage: cargo xtask gen [--check]"),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Messages of the wire go to `core/wire` without any service code; what
/// services say to one another goes to `io/cluster` with it.
fn generate(check: bool) -> Result<()> {
    let root = root();
    let proto = root.join("proto");
    let scratch = root.join("target/xtask-gen");
    std::fs::create_dir_all(&scratch)?;

    let wire = protox::compile(["signal/v1/signal.proto", "media/v1/media.proto"], [&proto])?;
    prost_build::Config::new()
        .out_dir(&scratch)
        .bytes(["."])
        .compile_fds(wire)?;
    let cluster = protox::compile(["cluster/v1/cluster.proto"], [&proto])?;
    tonic_prost_build::configure()
        .out_dir(&scratch)
        .bytes(".")
        .compile_fds(cluster)?;

    let targets = [
        ("darktower.signal.v1.rs", "crates/core/wire/src/gen"),
        ("darktower.media.v1.rs", "crates/core/wire/src/gen"),
        ("darktower.cluster.v1.rs", "crates/io/cluster/src/gen"),
    ];
    for (name, directory) in targets {
        let fresh = std::fs::read_to_string(scratch.join(name))?;
        let directory = root.join(directory);
        let committed = directory.join(name);
        if check {
            let present = std::fs::read_to_string(&committed)
                .with_context(|| format!("{} is missing", committed.display()))?;
            if present != fresh {
                bail!("{} is stale: run `cargo xtask gen`", committed.display());
            }
        } else {
            std::fs::create_dir_all(&directory)?;
            std::fs::write(&committed, fresh)?;
        }
    }
    Ok(())
}
