//! `darktower-link`: the relay as a program, for scripts and browser tests.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use darktower_link::control::{self, Patch};
use darktower_link::relay::{Config, Relay};
use darktower_link::{Conditions, Loss, Queue, parse_chance, parse_duration, parse_rate};

/// Relays UDP and TCP over a link whose conditions you choose (each way, unless it says otherwise).
///
/// Prints one JSON line with the address it listens on, then runs until it is killed, or until its
/// standard input ends (with --control).
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where clients reach it, on UDP and TCP; port 0 picks one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where it forwards to.
    #[arg(long)]
    to: SocketAddr,
    /// Delay each way, e.g. 20ms (a round trip of 40ms).
    #[arg(long, default_value = "0", value_parser = parse_duration)]
    delay: Duration,
    /// Up to this much more delay, e.g. 5ms; order is kept.
    #[arg(long, default_value = "0", value_parser = parse_duration)]
    jitter: Duration,
    /// Part of the packets that is lost, e.g. 1%.
    #[arg(long, default_value = "0", value_parser = parse_chance)]
    loss: f64,
    /// Lose in bursts of this many packets on average.
    #[arg(long)]
    burst: Option<f64>,
    /// Bits per second, e.g. 1Mbps.
    #[arg(long, value_parser = parse_rate)]
    rate: Option<u64>,
    /// How long a packet may wait for the rate before it is dropped instead.
    #[arg(long, default_value = "200ms", value_parser = parse_duration)]
    queue: Duration,
    /// What differs on the way up, as JSON: {"delay_ms":5,"rate_bps":500000}.
    #[arg(long, value_parser = parse_patch)]
    up: Option<Patch>,
    /// What differs on the way down.
    #[arg(long, value_parser = parse_patch)]
    down: Option<Patch>,
    /// The same seed draws the same losses and jitter.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A UDP flow silent for this long is forgotten.
    #[arg(long, default_value = "120s", value_parser = parse_duration)]
    idle: Duration,
    /// Read JSON lines from standard input ({"delay_ms":50}, {"blackout":true}, {"rebind":true}, {}) and
    /// answer each with one; stop when the input ends.
    #[arg(long)]
    control: bool,
}

fn parse_patch(text: &str) -> Result<Patch, serde_json::Error> {
    serde_json::from_str(text)
}

fn say(line: &serde_json::Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

impl Args {
    fn config(&self) -> Result<Config> {
        let loss = match self.burst {
            None if self.loss == 0.0 => Loss::None,
            None => Loss::Random(self.loss),
            Some(length) if length >= 1.0 => Loss::bursty(self.loss, length),
            Some(_) => bail!("a burst has at least one packet"),
        };
        let both = Conditions {
            delay: self.delay,
            jitter: self.jitter,
            loss,
            rate_bps: self.rate,
            queue: Queue::Time(self.queue),
            ..Conditions::default()
        };
        let up = self.up.unwrap_or_default().apply(both).context("--up")?;
        let down = self
            .down
            .unwrap_or_default()
            .apply(both)
            .context("--down")?;
        Ok(Config {
            listen: self.listen,
            up,
            down,
            seed: self.seed,
            idle: self.idle,
            ..Config::new(self.to)
        })
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let relay =
        Relay::start(args.config()?).with_context(|| format!("cannot relay on {}", args.listen))?;
    say(&serde_json::json!({"listen": relay.addr(), "to": args.to}))?;
    if args.control {
        for line in io::stdin().lock().lines() {
            say(&control::answer(&relay, &line?))?;
        }
    } else {
        loop {
            thread::park();
        }
    }
    Ok(())
}
