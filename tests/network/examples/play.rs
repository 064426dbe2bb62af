//! Plays one row in virtual time and tells what happened each tenth of a second:
//! `cargo run -p darktower-network --example play -- N2 1`.

use std::io::{self, Write as _};

use anyhow::Context as _;
use darktower_network::rows::rows;
use darktower_network::world;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().context("which row?")?;
    let seed = arguments.next().map_or(Ok(1), |seed| seed.parse())?;
    let rows = rows();
    let row = rows.iter().find(|row| row.name == name);
    let row = row.context("there is no such row")?;
    let records = row.scenarios.iter().map(|it| world::run(it, seed));
    let records = records.collect::<anyhow::Result<Vec<_>>>()?;
    let mut out = io::stdout().lock();
    let record = records.last().context("nothing was played")?;
    write!(out, "{record}")?;
    let figures = (row.measure)(&row.scenarios, &records);
    writeln!(out, "{:?}", figures.json())?;
    writeln!(out, "{:#?}", row.broken(&figures))?;
    Ok(())
}
