//! Plays rows in virtual time from many seeds and tells their figures, a line each:
//! `cargo run -p darktower-network --example sweep -- 10 N2 N6 N7`; without names, all rows.

use std::io::{self, Write as _};

use anyhow::Context as _;
use darktower_network::rows::rows;
use darktower_network::world;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seeds: u64 = arguments.next().context("how many seeds?")?.parse()?;
    let names: Vec<_> = arguments.collect();
    let mut out = io::stdout().lock();
    let all = rows();
    let chosen = all.iter();
    let chosen = chosen.filter(|row| names.is_empty() || names.iter().any(|it| it == row.name));
    for row in chosen {
        for seed in 1..=seeds {
            let records = row.scenarios.iter().map(|it| world::run(it, seed));
            let records = records.collect::<anyhow::Result<Vec<_>>>()?;
            let figures = (row.measure)(&row.scenarios, &records);
            let faults = row.broken(&figures).join("; ");
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
    }
    Ok(())
}
