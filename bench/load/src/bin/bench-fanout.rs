//! What a forwarded frame costs.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use darktower_load::fanout::abuse::{Abuse, BadInput};
use darktower_load::fanout::row::Row;
use darktower_load::fanout::rows::Bench;
use darktower_load::fanout::scene::Steering;
use darktower_load::system::default_program;
use serde::Serialize;

/// Starts `darktower media` alone, plays the meeting controller and all participants, and divides the CPU that the
/// kernel accounts to the serving process by the frames that subscribers got whole. Prints a table, and each row as a
/// JSON line at the end.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The program; by default the one beside this, or `DARKTOWER_BIN`.
    #[arg(long)]
    darktower: Option<PathBuf>,
    /// Rows; all of them by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    row: Vec<Name>,
    /// Seconds for which a row is measured.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds for the row `soak`.
    #[arg(long, default_value_t = 30)]
    soak_seconds: u64,
    /// Sessions of the row `idle`.
    #[arg(long, default_value_t = 1000)]
    idle: u32,
    /// Threads of the handler that forward (the row `cores` has its own); 0: what it takes by itself.
    #[arg(long, default_value_t = 1)]
    shards: usize,
    /// Load threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Who says what a subscriber of `lastn-150x150` gets: the controller by commands, or the subscriber by `Demand`.
    #[arg(long, value_enum, default_value_t = By::Demand)]
    steering: By,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Demand,
    Subscription,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// 1 publisher, 100 subscribers, 6,250 B at 30 frames a second.
    #[value(name = "video-1x100")]
    Video,
    /// 1 publisher, 1,000 subscribers, 120 B at 50 frames a second.
    #[value(name = "audio-1x1000")]
    Audio,
    /// Meetings of ten, 9 x (video + audio) each, until the cores are full.
    TenWay,
    /// The same with all cameras ticking together.
    TenWayTogether,
    /// 150 who send 1,250 B at 15 frames a second, each of whom gets 25 at a time.
    #[value(name = "lastn-150x150")]
    LastN,
    /// Meetings of four until the cores are full, with one shard and with two.
    Cores,
    /// What others have of one who sends too much, floods, storms, lies, dawdles or never reads.
    BadInput,
    /// Memory of sessions that do nothing.
    Idle,
    /// 1,008 streams for a while.
    Soak,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let program = match &arguments.darktower {
        Some(path) => path.clone(),
        None => default_program()?,
    };
    anyhow::ensure!(
        arguments.threads > 0,
        "no participants without load threads"
    );
    let bench = Bench {
        program,
        time: Duration::from_secs(arguments.seconds.max(2)),
        shards: (arguments.shards > 0).then_some(arguments.shards),
        threads: arguments.threads,
        steering: match arguments.steering {
            By::Demand => Steering::Demand,
            By::Subscription => Steering::Subscription,
        },
        progress,
    };
    let names = match &arguments.row[..] {
        [] => Name::value_variants(),
        some => some,
    };
    let (mut lines, mut failed) = (Vec::new(), 0);
    let mut out = std::io::stdout();
    writeln!(out, "{}", Row::head())?;
    for name in names {
        match run(&bench, &arguments, *name).await {
            Ok(Printed { table, json, is_ok }) => {
                failed += usize::from(!is_ok);
                table.iter().try_for_each(|line| writeln!(out, "{line}"))?;
                lines.extend(json);
            }
            Err(error) => {
                failed += 1;
                progress(&format!("{name:?} failed: {error:#}"));
            }
        }
    }
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    anyhow::ensure!(failed == 0, "{failed} rows failed");
    Ok(())
}

/// What a row has to say.
struct Printed {
    table: Option<String>,
    json: Vec<String>,
    /// What is judged holds.
    is_ok: bool,
}

async fn run(bench: &Bench, arguments: &Arguments, name: Name) -> anyhow::Result<Printed> {
    let row = match name {
        Name::Video => bench.video().await?,
        Name::Audio => bench.audio().await?,
        Name::TenWay => bench.ten_way(false).await?,
        Name::TenWayTogether => bench.ten_way(true).await?,
        Name::LastN => bench.last_n().await?,
        Name::Cores => {
            let cores = bench.cores().await?;
            return lines(&cores);
        }
        Name::BadInput => {
            let mut all = Vec::new();
            for what in Abuse::ALL {
                all.push(bench.bad_input(what).await?);
            }
            let mut printed = lines(&all)?;
            printed.is_ok = all.iter().all(BadInput::is_ok);
            return Ok(printed);
        }
        Name::Idle => return lines(&[bench.idle(arguments.idle).await?]),
        Name::Soak => {
            let time = Duration::from_secs(arguments.soak_seconds);
            return lines(&[bench.soak(time).await?]);
        }
    };
    Ok(Printed {
        table: Some(row.to_string()),
        json: lines(&[row])?.json,
        is_ok: true,
    })
}

fn lines(rows: &[impl Serialize]) -> anyhow::Result<Printed> {
    let json = rows.iter().map(serde_json::to_string);
    Ok(Printed {
        table: None,
        json: json.collect::<Result<_, _>>()?,
        is_ok: true,
    })
}

fn progress(line: &str) {
    // A bench without standard error still has its result.
    let _ = writeln!(std::io::stderr(), "{line}");
}
