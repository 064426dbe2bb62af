//! The native [`End`] on standard input and output, for the script that sets it against the WASM build.

use std::io::{self, BufRead as _, Write as _};

use darktower_vectors::End;

fn main() -> io::Result<()> {
    let mut end = End::new();
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        writeln!(out, "{}", end.answer(&line?))?;
        out.flush()?;
    }
    Ok(())
}
