//! What is said of many joins: one row for each client and round-trip time.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::join::Stages;

/// Median and 95th percentile, in milliseconds to a tenth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half were faster.
    pub p50_ms: f64,
    /// 19 of 20 were faster.
    pub p95_ms: f64,
}

/// One row, as it is printed and kept in `bench/results`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    bench: &'static str,
    client: &'static str,
    rtt_ms: u64,
    p50_ms: f64,
    p95_ms: f64,
    n: usize,
    failed: usize,
    /// Since the click, each in the order in which a join reaches them.
    stages: BTreeMap<&'static str, Quantiles>,
}

/// The value that `share` of the values do not exceed, by nearest rank; `None` of nothing.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    let value = sorted.get(rank.max(1) - 1)?;
    Some((value * 10.0).round() / 10.0)
}

/// Which of the joins took as long as the median; `None` of nothing.
pub fn median(joins: &[Stages]) -> Option<usize> {
    let took = |index: &usize| joins[*index].first_frame_ms;
    let mut order: Vec<usize> = (0..joins.len()).collect();
    order.sort_by(|one, other| took(one).total_cmp(&took(other)));
    order.get(order.len().div_ceil(2).max(1) - 1).copied()
}

fn quantiles(values: &[f64]) -> Option<Quantiles> {
    Some(Quantiles {
        p50_ms: quantile(values, 0.5)?,
        p95_ms: quantile(values, 0.95)?,
    })
}

impl Row {
    /// Of joins by `client` at this round-trip time; `None` where none succeeded.
    pub fn new(client: &'static str, rtt_ms: u64, joins: &[Stages], failed: usize) -> Option<Self> {
        let of =
            |stage: fn(&Stages) -> f64| quantiles(&joins.iter().map(stage).collect::<Vec<_>>());
        let total = of(|it| it.first_frame_ms)?;
        let stages = [
            ("1_lookup", of(|it| it.lookup_ms)?),
            ("2_signal_up", of(|it| it.signal_up_ms)?),
            ("3_media_up", of(|it| it.media_up_ms)?),
            ("4_joined", of(|it| it.joined_ms)?),
            ("5_epoch", of(|it| it.epoch_ms)?),
            ("6_first_frame", total),
        ];
        Some(Self {
            bench: "join",
            client,
            rtt_ms,
            p50_ms: total.p50_ms,
            p95_ms: total.p95_ms,
            n: joins.len(),
            failed,
            stages: stages.into(),
        })
    }

    /// The table's head.
    pub fn head() -> &'static str {
        "client        RTT   n  fail |  lookup  signal   media  joined   epoch | first frame p50    p95 (ms since the click)"
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<12} {:>4} {:>3} {:>5} |",
            self.client, self.rtt_ms, self.n, self.failed
        )?;
        let before = self
            .stages
            .iter()
            .filter(|(name, _)| !name.starts_with('6'));
        for (_, stage) in before {
            write!(f, " {:>7.1}", stage.p50_ms)?;
        }
        write!(f, " | {:>15.1} {:>6.1}", self.p50_ms, self.p95_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), Some(10.0));
        assert_eq!(quantile(&values, 0.95), Some(19.0));
        assert_eq!(quantile(&values, 1.0), Some(20.0));
        assert_eq!(quantile(&[7.25], 0.5), Some(7.3));
        assert_eq!(quantile(&[], 0.5), None);
    }

    fn join(first_frame_ms: f64) -> Stages {
        Stages {
            lookup_ms: 1.0,
            signal_up_ms: 2.0,
            media_up_ms: 3.0,
            joined_ms: 4.0,
            epoch_ms: 5.0,
            first_frame_ms,
        }
    }

    #[test]
    fn the_median_join_took_as_long_as_the_median() {
        let joins = [9.0, 6.0, 8.0, 7.0].map(join);
        assert_eq!(median(&joins), Some(3));
        assert_eq!(median(&joins[..3]), Some(2));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_row_says_all_stages_in_order() {
        let join = join(6.0);
        let row = Row::new("native-cold", 40, &[join; 3], 1).unwrap();
        let json = serde_json::to_string(&row).unwrap();
        let start = r#"{"bench":"join","client":"native-cold","rtt_ms":40,"p50_ms":6.0,"p95_ms":6.0,"n":3,"failed":1,"#;
        assert!(json.starts_with(start), "{json}");
        let stages: Vec<_> = row.stages.keys().collect();
        assert_eq!(stages[0], &"1_lookup");
        assert_eq!(stages.len(), 6);
        assert!(row.to_string().ends_with("6.0    6.0"), "{row}");
        assert_eq!(Row::new("native-cold", 40, &[], 9), None);
    }
}
