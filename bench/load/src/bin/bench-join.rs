//! How long a join takes, from the click to the first picture of somebody else.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use darktower_load::join::{self, Publisher};
use darktower_load::rows::Row;
use darktower_load::system::{System, default_program};

/// Starts a `darktower`, puts relays before its three doors, keeps a publishing participant in an encrypted meeting, and
/// joins it again and again. Prints a table, and each row as a JSON line at the end.
///
/// `native-cold` has the link and an idle HTTP connection to the API (a page has one, too); everything else is done after
/// the click: lookup, both connections, join, key agreement, first picture. The publisher is as far away as the newcomer.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The program; by default the one beside this, or `DARKTOWER_BIN`.
    #[arg(long)]
    darktower: Option<PathBuf>,
    /// Joins for each round-trip time.
    #[arg(long, short, default_value_t = 40)]
    n: usize,
    /// Round-trip times in milliseconds.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 20, 40, 60, 100])]
    rtt: Vec<u64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let program = match arguments.darktower {
        Some(path) => path,
        None => default_program()?,
    };
    let mut out = std::io::stdout();
    let system = System::start(&program).await?;
    let clip = system.camera().await?;
    writeln!(out, "{}", Row::head())?;
    let mut rows = Vec::new();
    for rtt_ms in arguments.rtt {
        system.set_round_trip(Duration::from_millis(rtt_ms))?;
        let publisher = Publisher::start(&system.url(), clip.clone()).await?;
        let (mut joins, mut failed) = (Vec::new(), 0);
        // The first one warms caches and is not counted.
        for counted in std::iter::once(false).chain(std::iter::repeat_n(true, arguments.n)) {
            let joined = join::cold(&system.url(), publisher.invitation()).await;
            match joined {
                Ok(stages) if counted => joins.push(stages),
                Ok(_) => {}
                Err(error) => {
                    writeln!(std::io::stderr(), "a join failed: {error:#}")?;
                    failed += 1;
                }
            }
            publisher.alone().await?;
        }
        publisher.stop().await;
        let row = Row::new("native-cold", rtt_ms, &joins, failed);
        let row = row.with_context(|| format!("no join succeeded at {rtt_ms} ms"))?;
        writeln!(out, "{row}")?;
        rows.push(row);
    }
    system.stop().await?;
    for row in rows {
        writeln!(out, "{}", serde_json::to_string(&row)?)?;
    }
    Ok(())
}
