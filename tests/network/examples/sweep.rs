//! Plays rows in virtual time and tells their figures, a line for each seed, and how many seeds hold:
//! `cargo run -p darktower-network --example sweep -- 10 N2 N6 N7` plays seeds 1 to 10, `11..30` those
//! from 11 to 30; without names, all rows.

use std::io::{self, Write as _};
use std::ops::RangeInclusive;

use anyhow::Context as _;
use darktower_network::rows::rows;
use darktower_network::world;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seeds = seeds(&arguments.next().context("how many seeds?")?)?;
    let names: Vec<_> = arguments.collect();
    let mut out = io::stdout().lock();
    let all = rows();
    let chosen = all.iter();
    let chosen = chosen.filter(|row| names.is_empty() || names.iter().any(|it| it == row.name));
    let mut held = Vec::new();
    for row in chosen {
        let mut holding = 0;
        for seed in seeds.clone() {
            let records = row.scenarios.iter().map(|it| world::run(it, seed));
            let records = records.collect::<anyhow::Result<Vec<_>>>()?;
            let figures = (row.measure)(&row.scenarios, &records);
            let faults = row.broken(&figures).join("; ");
            holding += usize::from(faults.is_empty());
            write!(out, "{:5} {seed:3}", row.name)?;
            for (name, value) in figures.all() {
                match value {
                    Some(value) => write!(out, " {name} {value:.2}")?,
                    None => write!(out, " {name} never")?,
                }
            }
            writeln!(
                out,
                "{}{faults}",
                if faults.is_empty() { "" } else { "  ! " }
            )?;
        }
        held.push(format!("{} {holding}", row.name));
    }
    writeln!(out, "of {} seeds: {}", seeds.count(), held.join(", "))?;
    Ok(())
}

/// `10` or `11..30`, both ends among them.
fn seeds(said: &str) -> anyhow::Result<RangeInclusive<u64>> {
    Ok(match said.split_once("..") {
        Some((first, last)) => first.parse()?..=last.parse()?,
        None => 1..=said.parse()?,
    })
}
