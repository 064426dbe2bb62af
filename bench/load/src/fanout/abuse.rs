//! One who misbehaves, beside ten who do not.

use std::time::Duration;

use serde::Serialize;

use super::stage::Measured;

/// How often one who misbehaves does so.
pub(super) const EVERY: Duration = Duration::from_millis(1);

/// Frames of 6,250 B in each turn: 50 MB a second, ten times what one participant may publish.
pub(super) const FRAMES: usize = 8;

/// Datagrams in each turn: 50,000 a second, a thousand times those of a microphone.
pub(super) const DATAGRAMS: usize = 50;

/// What somebody does that it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Abuse {
    /// Publishes ten times its allowance.
    Overload,
    /// Sends datagrams as fast as it can.
    Datagrams,
    /// Says a thousand times a second what it wants to see.
    Demands,
    /// Reads nothing of what it is sent.
    Deafness,
}

impl Abuse {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Overload,
        Self::Datagrams,
        Self::Demands,
        Self::Deafness,
    ];
}

/// What the others had of it.
#[derive(Debug, Clone, Serialize)]
pub struct BadInput {
    bench: &'static str,
    row: &'static str,
    what: Abuse,
    /// 99 of 100 pictures of the others were no later, before and meanwhile.
    delay_p99_ms_before: Option<f64>,
    delay_p99_ms: Option<f64>,
    /// How much later that is, as a share.
    added: Option<f64>,
    audio_delay_p99_ms_before: Option<f64>,
    audio_delay_p99_ms: Option<f64>,
    delivered: f64,
    cores_before: f64,
    cores: f64,
    /// How long the handler waited for a core: what others took of the machine, the load threads among them.
    waited_cores_before: f64,
    waited_cores: f64,
    client_cores: f64,
    resident_kb_before: u64,
    resident_kb: u64,
    /// Whether the handler closed the session of the one.
    closed: bool,
}

impl BadInput {
    /// Of the same meeting before and meanwhile.
    pub fn new(what: Abuse, before: &Measured, meanwhile: &Measured) -> Self {
        let rounded = |value: f64, by: f64| (value * by).round() / by;
        let ms = |value: Option<f64>| value.map(|value| rounded(value, 100.0));
        let video = |it: &Measured| it.tally.video.delays.quantile_ms(0.99);
        let audio = |it: &Measured| it.tally.audio.delays.quantile_ms(0.99);
        let added = video(before).zip(video(meanwhile));
        Self {
            bench: "fanout",
            row: "bad-input",
            what,
            delay_p99_ms_before: ms(video(before)),
            delay_p99_ms: ms(video(meanwhile)),
            added: added.map(|(before, meanwhile)| rounded(meanwhile / before - 1.0, 1000.0)),
            audio_delay_p99_ms_before: ms(audio(before)),
            audio_delay_p99_ms: ms(audio(meanwhile)),
            delivered: rounded(meanwhile.tally.delivered().unwrap_or(0.0), 1e6),
            cores_before: rounded(before.cores(), 1000.0),
            cores: rounded(meanwhile.cores(), 1000.0),
            waited_cores_before: rounded(before.waited_cores(), 1000.0),
            waited_cores: rounded(meanwhile.waited_cores(), 1000.0),
            client_cores: rounded(meanwhile.client_cores(), 1000.0),
            resident_kb_before: before.resident_kb,
            resident_kb: meanwhile.resident_kb,
            closed: meanwhile.faults.ended > before.faults.ended,
        }
    }
}
