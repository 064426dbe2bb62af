//! What is said to a running relay: JSON lines in, a JSON line back for each.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::relay::{Relay, Report, Stopped};
use crate::{Conditions, Counters, Loss, Queue};

/// Which direction a line is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Both alike.
    #[default]
    Both,
    /// From the clients to the target.
    Up,
    /// From the target to the clients.
    Down,
}

/// Some of the conditions; what is not named stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// [`Conditions::delay`] in milliseconds.
    pub delay_ms: Option<f64>,
    /// [`Conditions::jitter`] in milliseconds.
    pub jitter_ms: Option<f64>,
    /// Mean loss from 0 to 1.
    pub loss: Option<f64>,
    /// Mean length of a burst of losses in packets, together with `loss`; without it each packet is
    /// lost independently.
    pub burst: Option<f64>,
    /// [`Conditions::rate_bps`]; 0 is no limit.
    pub rate_bps: Option<u64>,
    /// [`Queue::Time`] in milliseconds.
    pub queue_ms: Option<f64>,
    /// [`Queue::Bytes`].
    pub queue_bytes: Option<u64>,
    /// [`Conditions::duplicate`].
    pub duplicate: Option<f64>,
    /// [`Conditions::reorder`].
    pub reorder: Option<f64>,
    /// [`Conditions::reorder_by`] in milliseconds.
    pub reorder_by_ms: Option<f64>,
    /// [`Conditions::blackout`].
    pub blackout: Option<bool>,
}

/// A line of the control protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Line {
    /// Which direction the conditions are for.
    pub direction: Direction,
    /// The conditions to change.
    pub patch: Patch,
    /// Give every UDP flow a new source port towards the target.
    pub rebind: bool,
}

/// Why a line was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is not the JSON that is expected here.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A number makes no sense.
    #[error("{0} is out of range")]
    Range(&'static str),
    /// There is nobody left to tell.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

fn duration(name: &'static str, milliseconds: f64) -> Result<Duration, LineError> {
    Duration::try_from_secs_f64(milliseconds / 1e3)
        .ok()
        .filter(|duration| duration.as_secs() <= 3600)
        .ok_or(LineError::Range(name))
}

fn chance(name: &'static str, chance: f64) -> Result<f64, LineError> {
    if (0.0..=1.0).contains(&chance) {
        Ok(chance)
    } else {
        Err(LineError::Range(name))
    }
}

impl Patch {
    /// The conditions with this patch applied.
    ///
    /// # Errors
    /// A chance outside 0 to 1, a time that is negative or beyond an hour, a burst without `loss` or
    /// shorter than one packet.
    pub fn apply(&self, to: Conditions) -> Result<Conditions, LineError> {
        let mut conditions = to;
        if let Some(delay) = self.delay_ms {
            conditions.delay = duration("delay_ms", delay)?;
        }
        if let Some(jitter) = self.jitter_ms {
            conditions.jitter = duration("jitter_ms", jitter)?;
        }
        match (self.loss, self.burst) {
            (None, None) => {}
            (Some(mean), None) => conditions.loss = Loss::Random(chance("loss", mean)?),
            (Some(mean), Some(length)) if length >= 1.0 => {
                conditions.loss = Loss::bursty(chance("loss", mean)?, length);
            }
            (_, Some(_)) => return Err(LineError::Range("burst")),
        }
        if let Some(rate) = self.rate_bps {
            conditions.rate_bps = (rate > 0).then_some(rate);
        }
        if let Some(queue) = self.queue_ms {
            conditions.queue = Queue::Time(duration("queue_ms", queue)?);
        }
        if let Some(bytes) = self.queue_bytes {
            conditions.queue = Queue::Bytes(bytes);
        }
        if let Some(duplicate) = self.duplicate {
            conditions.duplicate = chance("duplicate", duplicate)?;
        }
        if let Some(reorder) = self.reorder {
            conditions.reorder = chance("reorder", reorder)?;
        }
        if let Some(by) = self.reorder_by_ms {
            conditions.reorder_by = duration("reorder_by_ms", by)?;
        }
        if let Some(blackout) = self.blackout {
            conditions.blackout = blackout;
        }
        Ok(conditions)
    }
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// Not a JSON object, an unknown field, a value of the wrong type.
    pub fn read(text: &str) -> Result<Self, LineError> {
        // serde cannot both flatten and refuse unknown fields, so the line's own two are taken out first.
        let mut fields: serde_json::Map<String, Value> = serde_json::from_str(text)?;
        let mut line = Self::default();
        if let Some(direction) = fields.remove("direction") {
            line.direction = serde_json::from_value(direction)?;
        }
        if let Some(rebind) = fields.remove("rebind") {
            line.rebind = serde_json::from_value(rebind)?;
        }
        line.patch = serde_json::from_value(Value::Object(fields))?;
        Ok(line)
    }

    /// Carries the line out.
    ///
    /// # Errors
    /// A value out of range (then nothing is changed), or the relay has stopped.
    pub fn obey(&self, relay: &Relay) -> Result<(), LineError> {
        let (mut up, mut down) = relay.conditions()?;
        if self.direction != Direction::Down {
            up = self.patch.apply(up)?;
        }
        if self.direction != Direction::Up {
            down = self.patch.apply(down)?;
        }
        if self.patch != Patch::default() {
            relay.set(up, down)?;
        }
        if self.rebind {
            relay.rebind()?;
        }
        Ok(())
    }
}

/// Reads a line, carries it out and words the answer: `{"ok":true,…}` with what passed so far, or
/// `{"ok":false,"error":…}`. An empty object therefore asks for the counters.
#[must_use]
pub fn answer(relay: &Relay, text: &str) -> Value {
    let done = Line::read(text).and_then(|line| line.obey(relay));
    match done.and_then(|()| Ok(relay.report()?)) {
        Ok(report) => describe(&report),
        Err(error) => json!({"ok": false, "error": error.to_string()}),
    }
}

fn describe(report: &Report) -> Value {
    let direction = |counters: &Counters| {
        json!({
            "sent": counters.sent,
            "sent_bytes": counters.sent_bytes,
            "delivered": counters.delivered,
            "delivered_bytes": counters.delivered_bytes,
            "duplicated": counters.duplicated,
            "lost": counters.lost,
            "recovered": counters.recovered,
            "overflowed": counters.overflowed,
            "blacked_out": counters.blacked_out,
        })
    };
    json!({
        "ok": true,
        "up": direction(&report.up),
        "down": direction(&report.down),
        "udp_flows": report.udp_flows,
        "tcp_flows": report.tcp_flows,
        "refused": report.refused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_changes_what_it_names_and_nothing_else() {
        let line = Line::read(r#"{"direction":"down","delay_ms":20.5,"loss":0.01}"#).unwrap();
        assert_eq!(line.direction, Direction::Down);
        let before = Conditions {
            rate_bps: Some(5),
            ..Conditions::default()
        };
        let after = line.patch.apply(before).unwrap();
        let delay = Duration::from_micros(20_500);
        assert_eq!(
            after,
            Conditions {
                delay,
                loss: Loss::Random(0.01),
                ..before
            }
        );
        let unlimited = Line::read(r#"{"rate_bps":0}"#)
            .unwrap()
            .patch
            .apply(after)
            .unwrap();
        assert_eq!(unlimited.rate_bps, None);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "7",
            "[]",
            r#"{"delay":20}"#,
            r#"{"delay_ms":"x"}"#,
            r#"{"direction":"left"}"#,
        ] {
            assert!(Line::read(text).is_err(), "{text}");
        }
        for text in [
            r#"{"loss":1.5}"#,
            r#"{"delay_ms":-1}"#,
            r#"{"delay_ms":1e300}"#,
            r#"{"burst":8}"#,
            r#"{"loss":0.1,"burst":0.5}"#,
        ] {
            let line = Line::read(text).unwrap();
            assert!(line.patch.apply(Conditions::default()).is_err(), "{text}");
        }
    }
}
