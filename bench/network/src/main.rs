//! Rows N1 to N10: in virtual time on the cores, and over the real program with native
//! participants behind links that change.
//!
//! Where to start: `run.rs` plays a scenario; `darktower_network::rows` says what must hold.

mod cast;
mod plot;
mod relay;
mod run;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use darktower_load::system::{System, default_program};
use darktower_network::record::Record;
use darktower_network::rows::{Figures, Row, rows};
use darktower_network::world;
use serde_json::Value;

/// Plays each row twice: in virtual time, and over a real `darktower` with native participants whose links to the media
/// handler go through relays. Prints a table and, at the end, each row as a JSON line; exits with 1 if a row does not
/// hold. Curves are written as SVG, what happened beside them as text.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The program; by default the one beside this, or `DARKTOWER_BIN`.
    #[arg(long)]
    darktower: Option<PathBuf>,
    /// Only rows whose name begins so, such as N3 or N3-10; may be given several times.
    #[arg(long)]
    row: Vec<String>,
    /// Dice of the links.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Virtual time alone: no program is started.
    #[arg(long)]
    no_real: bool,
    /// Where curves are written.
    #[arg(long, default_value = "target/bench-network")]
    out: PathBuf,
}

/// What came of a row in one of the two worlds.
struct Outcome {
    figures: Figures,
    broken: Vec<String>,
}

impl Outcome {
    fn new(row: &Row, records: &[Record]) -> Self {
        let figures = (row.measure)(&row.scenarios, records);
        let broken = row.broken(&figures);
        Self { figures, broken }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let wanted = |row: &Row| {
        let named = |name: &String| row.name == name || row.name.starts_with(&format!("{name}-"));
        arguments.row.is_empty() || arguments.row.iter().any(named)
    };
    let rows: Vec<_> = rows().into_iter().filter(wanted).collect();
    anyhow::ensure!(!rows.is_empty(), "there is no such row");
    std::fs::create_dir_all(&arguments.out)?;
    let system = match arguments.no_real {
        true => None,
        false => {
            let program = arguments.darktower.clone();
            let program = program.map_or_else(default_program, Ok)?;
            Some(System::start(&program).await?)
        }
    };
    let mut out = std::io::stdout();
    let (mut lines, mut all) = (Vec::new(), true);
    for row in &rows {
        let simulated = simulate(row, &arguments)?;
        tell(&mut out, row, "virtual", &simulated)?;
        let mut ok = simulated.broken.is_empty();
        let mut line = simulated.figures.json();
        if let Some(system) = &system {
            let real = real(row, system, &arguments).await?;
            tell(&mut out, row, "real", &real)?;
            ok &= real.broken.is_empty();
            let simulated = Value::Object(std::mem::replace(&mut line, real.figures.json()));
            line.insert("virtual".to_owned(), simulated);
        }
        all &= ok;
        // What a reader looks for comes first.
        let figures = Value::Object(line).to_string();
        let head = format!(r#"{{"bench":"network","row":"{}","ok":{ok},"#, row.name);
        lines.push(head + figures.trim_start_matches('{'));
    }
    if let Some(system) = system {
        system.stop().await?;
    }
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(ExitCode::from(u8::from(!all)))
}

fn simulate(row: &Row, arguments: &Arguments) -> anyhow::Result<Outcome> {
    let played = row.scenarios.iter();
    let played = played.map(|scenario| world::run(scenario, arguments.seed));
    let records = played.collect::<anyhow::Result<Vec<_>>>()?;
    draw(row, "virtual", records.last(), &arguments.out)?;
    Ok(Outcome::new(row, &records))
}

async fn real(row: &Row, system: &System, arguments: &Arguments) -> anyhow::Result<Outcome> {
    let mut records = Vec::new();
    for scenario in &row.scenarios {
        let played = run::play(system, scenario, arguments.seed).await;
        records.push(played.with_context(|| format!("row {}", row.name))?);
    }
    draw(row, "real", records.last(), &arguments.out)?;
    Ok(Outcome::new(row, &records))
}

fn draw(row: &Row, world: &str, record: Option<&Record>, out: &Path) -> anyhow::Result<()> {
    let Some(record) = record else { return Ok(()) };
    let title = format!("{}, {world}: {}", row.name, row.link);
    // The row's link is the first; in one row it is who sends that is behind it.
    let cast = row.scenarios.last().map_or(&[][..], |it| &it.cast);
    let sender = cast.iter().position(|part| part.camera && part.link == 0);
    let file = out.join(format!("{}-{world}.svg", row.name));
    std::fs::write(file, plot::svg(&title, record, sender))?;
    let file = out.join(format!("{}-{world}.txt", row.name));
    std::fs::write(file, record.to_string())?;
    Ok(())
}

fn tell(
    out: &mut impl std::io::Write,
    row: &Row,
    world: &str,
    outcome: &Outcome,
) -> std::io::Result<()> {
    let figures = outcome.figures.all().map(|(name, value)| match value {
        Some(value) => format!("{name} {value:.1}"),
        None => format!("{name} never"),
    });
    let figures: Vec<_> = figures.collect();
    let verdict = if outcome.broken.is_empty() {
        "ok"
    } else {
        "NO"
    };
    writeln!(
        out,
        "{:<6} {:<7} {verdict}  {:<45} {}",
        row.name,
        world,
        row.link,
        figures.join(", ")
    )?;
    for broken in &outcome.broken {
        writeln!(out, "{:<18} {broken}", "")?;
    }
    out.flush()
}
