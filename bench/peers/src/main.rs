//! What a forwarded frame costs elsewhere: the frames, rates and counting of `bench-fanout`, through other systems.
//!
//! Each row measures ours and the peers one after the other in the same run, CPU from the kernel's accounting of the
//! serving process, divided by the frames that subscribers got whole. Peers come from a package registry at a pinned
//! version (`scripts/build-peers.sh`), run with their defaults and in the mode their makers call fastest; nothing of
//! theirs is in this repository.

mod moq;
mod relay;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use darktower_load::fanout::rows::Bench;
use darktower_load::fanout::scene::Steering;
use darktower_load::fanout::stage::Measured;
use darktower_load::system::default_program;
use serde::Serialize;

use crate::moq::Crowd;
use crate::relay::{Mode, Relay};

/// Measures ours and the peers, and prints a JSON line for each peer and row at the end.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Our program; by default `darktower` beside this one, or `DARKTOWER_BIN`.
    #[arg(long)]
    darktower: Option<PathBuf>,
    /// The relay of the moq project.
    #[arg(long)]
    moq_relay: PathBuf,
    /// Seconds for which each is measured.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// One peer on one row.
#[derive(Debug, Serialize)]
struct Row {
    bench: &'static str,
    row: &'static str,
    peer: String,
    us_per_frame: f64,
    peer_us_per_frame: f64,
    /// Ours for one of theirs.
    ratio: f64,
    delivered: f64,
    peer_delivered: f64,
    delay_p99_ms: Option<f64>,
    peer_delay_p99_ms: Option<f64>,
    peer_kb_per_subscriber: f64,
    peer_missing: u64,
    peer_faults: u64,
    seconds: f64,
}

const ROW: &str = "video-1x100";
const SUBSCRIBERS: usize = 100;

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let program = match &arguments.darktower {
        Some(path) => path.clone(),
        None => default_program()?,
    };
    let bench = Bench {
        program,
        time: Duration::from_secs(arguments.seconds.max(2)),
        shards: Some(1),
        threads: 1,
        steering: Steering::Demand,
        progress,
    };
    let ours = bench.video().await?;
    progress(&ours.to_string());
    let mut rows = Vec::new();
    for mode in [Mode::Default, Mode::OneWorker, Mode::IoUring] {
        let relay = Relay::start(&arguments.moq_relay, mode).await?;
        let crowd = Crowd {
            subscribers: SUBSCRIBERS,
        };
        let theirs = moq::measure(&relay, crowd, bench.time).await;
        let said = relay.stop().await?;
        let theirs = match theirs {
            Ok(theirs) => theirs,
            Err(error) => anyhow::bail!("{}: {error:#}; it said: {said}", mode.name()),
        };
        let row = compare(&ours, mode, &theirs);
        progress(&format!(
            "{}: {:.2} us a frame, {:.5} delivered, {:.2} of a core",
            row.peer,
            row.peer_us_per_frame,
            row.peer_delivered,
            theirs.cores(),
        ));
        rows.push(row);
    }
    let mut out = std::io::stdout();
    writeln!(out, "{}", serde_json::to_string(&ours)?)?;
    for row in rows {
        writeln!(out, "{}", serde_json::to_string(&row)?)?;
    }
    Ok(())
}

fn compare(ours: &darktower_load::fanout::row::Row, mode: Mode, theirs: &Measured) -> Row {
    let rounded = |value: f64, by: f64| (value * by).round() / by;
    let us = theirs.us_per(theirs.whole[0]);
    let faults = theirs.faults;
    let p99 = theirs.tally.video.delays.quantile_ms(0.99);
    Row {
        bench: "peers",
        row: ROW,
        peer: mode.name().to_owned(),
        us_per_frame: ours.us_per_frame,
        peer_us_per_frame: rounded(us, 1e2),
        ratio: rounded(ours.us_per_frame / us, 1e3),
        delivered: ours.delivered,
        peer_delivered: rounded(theirs.tally.delivered().unwrap_or(0.0), 1e6),
        delay_p99_ms: ours.delay_p99_ms,
        peer_delay_p99_ms: p99.map(|ms| rounded(ms, 1e2)),
        peer_kb_per_subscriber: rounded(theirs.kb_per_session, 10.0),
        peer_missing: theirs.tally.missing(),
        peer_faults: faults.repeated + faults.broken + faults.gaps,
        seconds: rounded(theirs.time.as_secs_f64(), 10.0),
    }
}

fn progress(line: &str) {
    // A bench without standard error still has its result.
    let _ = writeln!(std::io::stderr(), "{line}");
}
