//! The table, and the lines that programs read.

use std::time::Duration;

use serde_json::json;

use crate::play::Outcome;
use crate::rows::{Measure, Row};

/// Above the table.
pub(crate) const HEAD: &str = "row         measured      n    p50 ms    p95 ms    max ms  bound ms    media gap ms  browser ms";

/// The sample below which so many of a hundred are, by the nearest rank.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    let sample = sorted.get(rank - 1)?;
    Some((sample.as_secs_f64() * 10_000.0).round() / 10.0)
}

struct Figures {
    n: usize,
    p50: Option<f64>,
    p95: Option<f64>,
    max: Option<f64>,
    gap: f64,
    /// The longest gap between the browser and anybody else, where there is one.
    browser: Option<f64>,
}

fn figures(outcome: &Outcome) -> Figures {
    let mut sorted = outcome.samples.clone();
    sorted.sort();
    let mut browser = outcome.browser.clone();
    browser.sort();
    Figures {
        browser: percentile(&browser, 100),
        n: sorted.len(),
        p50: percentile(&sorted, 50),
        p95: percentile(&sorted, 95),
        max: percentile(&sorted, 100),
        gap: (outcome.gap.as_secs_f64() * 1000.0).round(),
    }
}

fn name(measure: Measure) -> &'static str {
    match measure {
        Measure::Back | Measure::AllBack => "back",
        Measure::Lookup | Measure::Known => "lookup",
        Measure::Create => "create",
        Measure::Told => "told",
        Measure::Evened => "evened",
        Measure::Soaked => "joined",
        Measure::Avoided => "avoided",
        Measure::Seat { .. } => "seat",
        Measure::Written => "written",
        Measure::Rolled { .. }
        | Measure::Gap
        | Measure::Through
        | Measure::Still(_)
        | Measure::Kept(_) => "gap",
    }
}

/// A row of the table.
pub(crate) fn table(row: &Row, outcome: &Outcome) -> String {
    let it = figures(outcome);
    let number = |value: Option<f64>| value.map_or("never".to_owned(), |ms| format!("{ms:.0}"));
    format!(
        "{:<11} {:<9} {:>5} {:>9} {:>9} {:>9} {:>9} {:>15} {:>11}  {}",
        row.name,
        name(row.measure),
        it.n,
        number(it.p50),
        number(it.p95),
        number(it.max),
        row.bound.as_millis(),
        it.gap,
        it.browser.map_or("-".to_owned(), |ms| format!("{ms:.0}")),
        if outcome.is_ok(row) { "ok" } else { "NO" }
    )
}

/// The row for programs.
pub(crate) fn json(row: &Row, outcome: &Outcome) -> String {
    let it = figures(outcome);
    let rest = json!({
        "measure": name(row.measure), "n": it.n, "p50_ms": it.p50, "p95_ms": it.p95, "max_ms": it.max,
        "bound_ms": row.bound.as_millis() as u64, "gap_ms": it.gap, "browser_ms": it.browser, "ok": outcome.is_ok(row),
    });
    let head = format!(r#"{{"bench":"chaos","row":"{}","#, row.name);
    head + rest.to_string().trim_start_matches('{')
}
