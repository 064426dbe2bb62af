//! Finds the built web app, so that the server also compiles before there is one.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> std::io::Result<()> {
    let app =
        Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../../web/app");
    let built = app.join("dist");
    let embedded = if built.join("index.html").is_file() {
        println!("cargo::rerun-if-changed={}", built.display());
        built
    } else {
        // A path that does not exist would run this anew each time; the
        // nearest one that does changes when the app is built.
        if let Some(present) = app.ancestors().find(|path| path.is_dir()) {
            println!("cargo::rerun-if-changed={}", present.display());
        }
        let empty = PathBuf::from(env::var("OUT_DIR").unwrap_or_default()).join("no-web-app");
        fs::create_dir_all(&empty)?;
        empty
    };
    println!("cargo::rustc-env=DARKTOWER_WEB_APP={}", embedded.display());
    Ok(())
}
