//! Rows of failures: real processes under load, a part of them killed, paused or stopped, and how long the participants
//! notice.
//!
//! What it is: [`system`] starts the processes, [`crowd`] the participants, [`onlooker`] is the one at a browser,
//! [`askers`] and [`visited`] those who come and create meetings, [`owners`] looks who owns one. [`rows`] says what is
//! done to whom and what must hold, [`steady`] waits until everybody sees everybody, [`play`] does it again and again;
//! [`away`], [`crowded`], [`many`], [`uneven`], [`release`] and [`soak`] play the rows of who is gone, of too little room,
//! of hundreds, of controllers that come, of an update and of a long time. What it must not do: judge by what the servers
//! say; what counts is what the participants see.

mod askers;
mod away;
mod crowd;
mod crowded;
mod devices;
mod front;
mod gaps;
mod held;
mod line;
mod many;
mod nice;
mod onlooker;
mod owners;
mod play;
mod release;
mod rows;
mod soak;
mod steady;
mod system;
mod tell;
mod uneven;
mod visited;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

/// Plays each row and prints a table, then each row as a JSON line. Exits with 1 where a bound was passed.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Only rows whose name begins so, such as F3 or F2-kill; may be given several times.
    #[arg(long)]
    row: Vec<String>,
    /// Long rows, and those of the previous release, too.
    #[arg(long)]
    all: bool,
    /// How often each row is played: 5 times, long ones once.
    #[arg(long)]
    repeat: Option<u32>,
    /// Meetings at once.
    #[arg(long, default_value_t = 4)]
    meetings: usize,
    /// Participants of each.
    #[arg(long, default_value_t = 5)]
    people: usize,
    /// One more participant, at a browser.
    #[arg(long)]
    browser: bool,
    /// How long the soak is played.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// What the soak's faults are drawn by; without it by the time of day.
    #[arg(long)]
    seed: Option<u64>,
    /// Times are told and not held to their bounds: for busy machines. What must not be must not be.
    #[arg(long)]
    untimed: bool,
}

impl Arguments {
    fn plays(&self, row: &rows::Row) -> bool {
        let begins = |name: &String| row.name.starts_with(&format!("{name}-"));
        let is_named = self.row.iter().any(|name| row.name == name);
        match row.takes {
            rows::Takes::Little => is_named || self.row.is_empty() || self.row.iter().any(begins),
            rows::Takes::Long | rows::Takes::Previous => is_named || self.all,
        }
    }

    fn repeats(&self, row: &rows::Row) -> u32 {
        self.repeat.unwrap_or(match row.takes {
            rows::Takes::Little | rows::Takes::Previous => 5,
            rows::Takes::Long => 1,
        })
    }

    /// Of all meetings, one at a browser included.
    fn participants(&self) -> usize {
        self.meetings * self.people + usize::from(self.browser)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let rows: Vec<_> = rows::ROWS
        .iter()
        .filter(|row| arguments.plays(row))
        .collect();
    anyhow::ensure!(!rows.is_empty(), "there is no such row");
    let mut out = std::io::stdout();
    let (mut lines, mut all) = (Vec::new(), true);
    writeln!(out, "{}", tell::HEAD)?;
    for row in rows {
        let begins_as = release::first(row)?;
        let system = system::System::start(row.ground, begins_as, arguments.participants())?;
        let outcome = match row.measure {
            rows::Measure::Rolled { back } => release::row(row, back, system, &arguments).await?,
            rows::Measure::Told => crowded::row(row, system, &arguments).await?,
            rows::Measure::Seat { held } => away::row(row, held, system, &arguments).await?,
            rows::Measure::AllBack => many::row(row, system, &arguments).await?,
            rows::Measure::Evened => uneven::row(row, system, &arguments).await?,
            rows::Measure::Soaked => soak::row(row, system, &arguments).await?,
            _ => play::row(row, system, &arguments).await?,
        };
        let broken = !arguments.untimed && !outcome.is_timely(row);
        all &= outcome.problems.is_empty() && !broken;
        writeln!(out, "{}", tell::table(row, &outcome))?;
        let told = outcome.told.iter().chain(&outcome.problems);
        for problem in told.chain(&outcome.slow) {
            writeln!(out, "        {problem}")?;
        }
        lines.push(tell::json(row, &outcome));
    }
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(ExitCode::from(u8::from(!all)))
}
