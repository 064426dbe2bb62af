//! The collector of spans for benches that are no Rust programs.

use std::io::Write as _;

use clap::Parser;
use darktower_load::spans::{Collector, EXPORT_EVERY};
use darktower_load::tree::{Join, render};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// Collects spans by OTLP over gRPC. Says where in its first line, with the variables that make a program export there;
/// then answers each line of its input, a join, by a line with the tree of its spans. Ends with its input.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {}

/// What is asked.
#[derive(Deserialize)]
struct Question {
    join: Join,
    /// Names of spans without which the trace is not complete.
    wanted: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments {} = Arguments::parse();
    let collector = Collector::start().await?;
    let (name, value) = EXPORT_EVERY;
    let environment = json!({
        "DARKTOWER_TELEMETRY__OTLP_ENDPOINT": collector.endpoint(),
        name: value,
    });
    say(&json!({ "environment": environment }))?;
    let mut questions = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = questions.next_line().await? {
        say(&match answer(&collector, &line).await {
            Ok(tree) => json!({ "tree": tree }),
            Err(error) => json!({ "error": format!("{error:#}") }),
        })?;
    }
    Ok(())
}

async fn answer(collector: &Collector, line: &str) -> anyhow::Result<String> {
    let Question { join, wanted } = serde_json::from_str(line)?;
    let wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
    let spans = collector.trace(&join.trace, &wanted).await?;
    Ok(render(&join, &spans))
}

fn say(answer: &serde_json::Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{answer}")?;
    Ok(out.flush()?)
}
