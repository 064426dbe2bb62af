//! The repository's own chores.
//!
//! `cargo xtask gen` writes generated code, `cargo xtask gen --check` fails
//! where it is stale, `cargo xtask tidy` holds the tree to the rules of the
//! house. What it must not do: build, start or change the product.

mod generate;
mod tidy;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["gen"] => generate::generate(&root(), false),
        ["gen", "--check"] => generate::generate(&root(), true),
        ["tidy"] => tidy(),
        _ => Err(anyhow!("usage: cargo xtask gen [--check] | tidy")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when this write fails.
            let _told = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn tidy() -> Result<()> {
    let faults = tidy::run(&root())?;
    let mut out = std::io::stderr().lock();
    for fault in &faults {
        writeln!(out, "{fault}")?;
    }
    if !faults.is_empty() {
        bail!("tidy: {} rules broken", faults.len());
    }
    writeln!(out, "tidy: the house is in order")?;
    Ok(())
}
