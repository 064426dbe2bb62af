//! The Dark Tower program: the three services in one process, or one of them.
//!
//! What it is: the command line ([`cli`]), the settings ([`settings`], read by
//! [`load`]), and the order in which services start and stop ([`run`]).
//!
//! What it must not do: hold a rule about meetings, or link the keys' crate.

mod cli;
mod database;
mod load;
mod refusal;
mod run;
mod secret_file;
mod services;
mod settings;
mod show;
mod state;
mod trust;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use cli::{Arguments, Command};
use refusal::Refusal;

/// Leaves with 0 after a clean stop, 1 where something failed, 2 where the
/// command line or a setting is at fault.
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = match load::settings() {
        Ok(settings) => settings,
        Err(error) => return leave(2, &format!("darktower: {error}")),
    };
    let role = match arguments.command {
        Some(Command::Config) => {
            return match show::settings(&settings) {
                Ok(text) => match write!(std::io::stdout(), "{text}") {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(error) => leave(1, &format!("darktower: {error}")),
                },
                Err(error) => leave(1, &format!("darktower: {error}")),
            };
        }
        Some(Command::Migrate) => {
            return match run::migrate(&settings) {
                Ok(done) => match writeln!(std::io::stdout(), "{done}") {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(error) => leave(1, &format!("darktower: {error}")),
                },
                Err(error) => failed(&error),
            };
        }
        Some(Command::Global) => run::Role::Global,
        Some(Command::Meeting) => run::Role::Meeting,
        Some(Command::Media) => run::Role::Media,
        Some(Command::All) | None => run::Role::All,
    };
    match run::run(role, settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    let refusal = error.downcast_ref::<Refusal>();
    let by_setting = error.is::<state::Apart>() || refusal.is_some_and(Refusal::is_by_setting);
    leave(
        if by_setting { 2 } else { 1 },
        &format!("darktower: {error:#}"),
    )
}

fn leave(code: u8, says: &str) -> ExitCode {
    // Nobody is left to tell when this write fails.
    let _told = writeln!(std::io::stderr(), "{says}");
    ExitCode::from(code)
}
