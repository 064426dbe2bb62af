//! What one meeting controller carries and one global controller answers, and how that grows.
//!
//! What it is: [`system`] starts Redis, a global controller, a meeting controller and a media handler, each a process of
//! its own; [`crowd`] are participants that signal and do nothing else ([`participant`]); [`rows`] says what is measured.
//!
//! What it must not do: leave out what a participant waits for, or count as the system's what is the load's. Key
//! messages are as long as real ones and mean nothing ([`keys`]): a controller cannot tell, and making real ones would
//! be most of the load's work.

mod crowd;
mod keys;
mod participant;
mod redis;
mod rows;
mod system;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Fills a meeting controller with meetings of four, holds each step, asks the global controller in closed loops, and
/// prints each row as a JSON line. Exits with 1 where a join or a question failed, or somebody was lost.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Meetings of each step.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 250, 500, 1000])]
    meetings: Vec<usize>,
    /// Joins a second.
    #[arg(long, default_value_t = 50)]
    joins: u32,
    /// Seconds for which each step is held and measured.
    #[arg(long, default_value_t = 10)]
    hold: u64,
    /// Seconds for which the global controller is asked each question.
    #[arg(long, default_value_t = 5)]
    ask: u64,
    /// More meetings at the end, whose participants join as fast as they can.
    #[arg(long, default_value_t = 100)]
    burst: usize,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let plan = rows::Plan {
        meetings: arguments.meetings,
        joins_per_second: arguments.joins,
        hold: Duration::from_secs(arguments.hold.max(1)),
        asking: Duration::from_secs(arguments.ask.max(1)),
        burst: arguments.burst,
    };
    let mut out = std::io::stdout();
    let failed = rows::run(&plan, |row| Ok(writeln!(out, "{}", row.json()?)?)).await?;
    if failed > 0 {
        progress(&format!("{failed} joins, questions or participants failed"));
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn progress(line: &str) {
    // A bench without standard error still has its result.
    let _ = writeln!(std::io::stderr(), "{line}");
}
