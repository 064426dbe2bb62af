//! Runs clusters from seeds, or replays one step by step.

use std::process::ExitCode;
use std::time::Instant;

use darktower_sim::{Cluster, Plant};

#[expect(clippy::print_stdout, reason = "a program for people")]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().unwrap_or_default();
    let plant = match std::env::var("PLANT").as_deref() {
        Ok("skip-fence") => Plant::SkipFence,
        Ok("drop-delta") => Plant::DropDelta,
        Ok("forget-seat") => Plant::ForgetSeat,
        Ok("trust-store") => Plant::TrustStore,
        _ => Plant::Nothing,
    };
    if let Ok(seed) = first.parse() {
        let report = Cluster::new(seed, plant, true).run();
        println!("{report:#?}");
        return ExitCode::from(u8::from(report.broken.is_some()));
    }
    let many =
        |text: Option<String>, default| text.and_then(|it| it.parse().ok()).unwrap_or(default);
    let (from, count) = (many(arguments.next(), 0), many(arguments.next(), 2000_u64));
    let began = Instant::now();
    let (mut bad, mut acked, mut owners, mut messages) = (0, 0, 0, 0);
    for seed in from..from + count {
        let report = Cluster::new(seed, plant, false).run();
        (acked, owners) = (acked + report.acked, owners + report.owners);
        messages += report.messages;
        if let Some(what) = report.broken {
            bad += 1;
            println!("make sim SEED={seed}: {what}");
        }
    }
    println!(
        "{count} seeds, {bad} broken, {acked} joins and resumes, {owners} owners, \
         {messages} messages, {:.1} s",
        began.elapsed().as_secs_f64()
    );
    ExitCode::from(u8::from(bad > 0))
}
