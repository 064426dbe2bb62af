//! What to run. Settings are no flags: they come from `darktower.toml` and
//! the environment.

use clap::{Parser, Subcommand};

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "darktower",
    version,
    about = "End-to-end encrypted meetings that anyone can host",
    after_help = "Settings: defaults < darktower.toml (or the file that DARKTOWER_CONFIG names) < \
                  environment (DARKTOWER_MEDIA__LISTEN for `listen` in `[media]`)."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What one process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// All three services in one process; also without any command.
    All,
    /// The global controller: the HTTP API and the web app.
    Global,
    /// A meeting controller: signalling.
    Meeting,
    /// A media handler: forwarding of sealed frames.
    Media,
    /// Brings the schema of the database up to date (of SQLite that happens at each start).
    Migrate,
    /// Prints the settings in effect, without secrets.
    Config,
}
