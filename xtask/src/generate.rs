//! Code made from `proto/`: written, or compared with what is committed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Messages of the wire go to `core/wire` without any service code; what
/// services say to one another goes to `io/cluster` with it.
pub(crate) fn generate(root: &Path, check: bool) -> Result<()> {
    let proto = root.join("proto");
    let scratch = root.join("target/xtask-gen");
    std::fs::create_dir_all(&scratch)?;

    let wire = protox::compile(["signal/v1/signal.proto", "media/v1/media.proto"], [&proto])?;
    prost_build::Config::new()
        .out_dir(&scratch)
        .bytes(["."])
        // They carry secrets; `wire::secret` prints the rest.
        .skip_debug([
            "darktower.signal.v1.Joined",
            "darktower.signal.v1.MediaAssignment",
        ])
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
        let made = scratch.join(name);
        format(root, &made)?;
        let fresh = std::fs::read_to_string(made)?;
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

/// `cargo fmt` walks into generated modules, so they are committed as it
/// leaves them.
fn format(root: &Path, file: &Path) -> Result<()> {
    let status = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root.join("rustfmt.toml"))
        .arg(file)
        .status()
        .context("rustfmt")?;
    if !status.success() {
        bail!("rustfmt {}: {status}", file.display());
    }
    Ok(())
}
