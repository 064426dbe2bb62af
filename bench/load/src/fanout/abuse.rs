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

/// Streams that are kept open with nothing whole on them, as far as the handler lets one open so many.
pub(super) const STREAMS: usize = 1024;

/// By so much, as a share, the delay of 99 of 100 pictures of the others may grow; below [`UNSEEN_MS`] it does not count.
const MOST_ADDED: f64 = 0.2;
const UNSEEN_MS: f64 = 1.0;

/// So much of what the others send must come to them.
const DELIVERED: f64 = 0.9995;

/// So much more the handler may hold for the one, in kB.
const MOST_HELD_KB: u64 = 32 * 1024;

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
    /// Sends frames whose headers lie: of whose they are, of layer, group, number, time and length.
    Lies,
    /// Opens streams and sends a byte of each now and then.
    SlowLoris,
}

impl Abuse {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Overload,
        Self::Datagrams,
        Self::Demands,
        Self::Deafness,
        Self::Lies,
        Self::SlowLoris,
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
    /// Whether the handler closed the session of the one, and why.
    closed: bool,
    why: Vec<String>,
    /// The others had what they had before, within [`MOST_ADDED`], and the handler holds little more.
    ok: bool,
}

impl BadInput {
    /// Whether it harmed nobody.
    pub fn is_ok(&self) -> bool {
        self.ok
    }

    /// Of the same meeting before and meanwhile.
    pub fn new(what: Abuse, before: &Measured, meanwhile: &Measured) -> Self {
        let rounded = |value: f64, by: f64| (value * by).round() / by;
        let ms = |value: Option<f64>| value.map(|value| rounded(value, 100.0));
        let video = |it: &Measured| it.tally.video.delays.quantile_ms(0.99);
        let audio = |it: &Measured| it.tally.audio.delays.quantile_ms(0.99);
        let added = video(before).zip(video(meanwhile));
        let delivered = meanwhile.tally.delivered().unwrap_or(0.0);
        let is_late = |(before, meanwhile): (f64, f64)| {
            meanwhile > before * (1.0 + MOST_ADDED) && meanwhile > before + UNSEEN_MS
        };
        let holds_little = meanwhile.resident_kb <= before.resident_kb + MOST_HELD_KB;
        Self {
            bench: "fanout",
            row: "bad-input",
            what,
            delay_p99_ms_before: ms(video(before)),
            delay_p99_ms: ms(video(meanwhile)),
            added: added.map(|(before, meanwhile)| rounded(meanwhile / before - 1.0, 1000.0)),
            audio_delay_p99_ms_before: ms(audio(before)),
            audio_delay_p99_ms: ms(audio(meanwhile)),
            delivered: rounded(delivered, 1e6),
            cores_before: rounded(before.cores(), 1000.0),
            cores: rounded(meanwhile.cores(), 1000.0),
            waited_cores_before: rounded(before.waited_cores(), 1000.0),
            waited_cores: rounded(meanwhile.waited_cores(), 1000.0),
            client_cores: rounded(meanwhile.client_cores(), 1000.0),
            resident_kb_before: before.resident_kb,
            resident_kb: meanwhile.resident_kb,
            closed: meanwhile.faults.ended > before.faults.ended,
            why: meanwhile.endings.clone(),
            ok: added.is_some_and(|both| !is_late(both)) && delivered >= DELIVERED && holds_little,
        }
    }
}
