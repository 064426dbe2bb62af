//! How long a join takes, from the click to the first picture of somebody else.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use darktower_load::join::{self, Join, Publisher};
use darktower_load::rows::{self, Row};
use darktower_load::spans::{Collector, EXPORT_EVERY};
use darktower_load::system::{System, default_program};
use darktower_load::tree;

/// Starts a `darktower`, puts relays before its three doors, keeps a publishing participant in an encrypted meeting, and
/// joins it again and again. Prints a table, the median join of each row as a tree of spans, and each row as a JSON line
/// at the end.
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
    #[arg(long, short, default_value_t = 20)]
    n: usize,
    /// Round-trip times in milliseconds.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 20, 40, 60, 100])]
    rtt: Vec<u64>,
    /// A file that the trees of spans are appended to, besides.
    #[arg(long)]
    spans: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let program = match arguments.darktower {
        Some(path) => path,
        None => default_program()?,
    };
    let mut out = std::io::stdout();
    let collector = Collector::start().await?;
    let endpoint = collector.endpoint();
    let exporting = [
        ("DARKTOWER_TELEMETRY__OTLP_ENDPOINT", endpoint.as_str()),
        EXPORT_EVERY,
    ];
    let system = System::start_in(&program, &exporting).await?;
    let clip = system.camera().await?;
    writeln!(out, "{}", Row::head())?;
    let (mut rows, mut medians) = (Vec::new(), Vec::new());
    for rtt_ms in arguments.rtt {
        system.set_round_trip(Duration::from_millis(rtt_ms))?;
        let publisher = Publisher::start(&system.url(), clip.clone()).await?;
        let (joins, failed) = joins(&system, &publisher, arguments.n).await?;
        publisher.stop().await;
        let stages: Vec<_> = joins.iter().map(|join| join.stages).collect();
        let row = Row::new("native-cold", rtt_ms, &stages, failed);
        let row = row.with_context(|| format!("no join succeeded at {rtt_ms} ms"))?;
        writeln!(out, "{row}")?;
        rows.push(row);
        medians.extend(rows::median(&stages).map(|index| (rtt_ms, joins[index].clone())));
    }
    let mut trees = String::new();
    for (rtt_ms, join) in medians {
        let spans = collector.trace(&join.trace(), &Join::WANTED).await?;
        let title = format!("median join, native-cold, {rtt_ms} ms round trip");
        trees += &format!("\n{}", tree::render(&join.steps(title), &spans));
    }
    system.stop().await?;
    writeln!(out, "{trees}")?;
    if let Some(path) = arguments.spans {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path);
        file?.write_all(trees.as_bytes())?;
    }
    for row in rows {
        writeln!(out, "{}", serde_json::to_string(&row)?)?;
    }
    Ok(())
}

/// So many joins one after the other, and how many more failed.
async fn joins(
    system: &System,
    publisher: &Publisher,
    n: usize,
) -> anyhow::Result<(Vec<Join>, usize)> {
    let (mut joins, mut failed) = (Vec::new(), 0);
    // The first one warms caches and is not counted.
    for counted in std::iter::once(false).chain(std::iter::repeat_n(true, n)) {
        match join::cold(&system.url(), publisher.invitation()).await {
            Ok(join) if counted => joins.push(join),
            Ok(_) => {}
            Err(error) => {
                writeln!(std::io::stderr(), "a join failed: {error:#}")?;
                failed += 1;
            }
        }
        publisher.alone().await?;
    }
    Ok((joins, failed))
}
