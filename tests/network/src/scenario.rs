//! A scenario is data: who is there, on which links, and how those change.

use std::time::Duration;

use darktower_link::Conditions;

/// Who is there, on which links, for how long.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// How long it runs.
    pub length: Duration,
    /// The participants; the first is who the row is about.
    pub cast: Vec<Part>,
    /// The links between them and the handler.
    pub links: Vec<Path>,
}

/// One participant.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// It sends a camera of three layers.
    pub camera: bool,
    /// It sends sound: the level (-dBov) at which it speaks from a time on, or silence.
    pub voice: Option<Vec<(Duration, Option<u8>)>>,
    /// How large it shows the others' cameras, in device pixels.
    pub shows: Option<(u32, u32)>,
    /// Which of the links it is on. Several may share one.
    pub link: usize,
    /// When it opens its session.
    pub joins: Duration,
}

/// A link with both its directions, and how it changes.
#[derive(Debug, Clone)]
pub struct Path {
    /// From the participant to the handler.
    pub up: Conditions,
    /// From the handler to the participant.
    pub down: Conditions,
    /// What it is like from a time on.
    pub changes: Vec<(Duration, Conditions, Conditions)>,
}

impl Path {
    /// Both ways alike, and so for ever.
    pub fn even(conditions: Conditions) -> Self {
        Self {
            up: conditions,
            down: conditions,
            changes: Vec::new(),
        }
    }

    /// From `at` on it is otherwise.
    #[must_use]
    pub fn then(mut self, at: Duration, up: Conditions, down: Conditions) -> Self {
        self.changes.push((at, up, down));
        self
    }
}

impl Part {
    /// Somebody with camera and microphone who speaks all the time and watches nobody.
    pub fn speaker(link: usize) -> Self {
        Self {
            camera: true,
            voice: Some(vec![(Duration::ZERO, Some(25))]),
            link,
            ..Self::default()
        }
    }

    /// Somebody who shows all cameras on a large screen and sends nothing.
    pub fn viewer(link: usize, joins: Duration) -> Self {
        Self {
            shows: Some((1280, 720)),
            link,
            joins,
            ..Self::default()
        }
    }
}

/// A link of this round-trip time (ms) and rate (kbit/s), with a queue of 200 ms.
pub fn link(rtt_ms: u64, rate_kbps: u64) -> Conditions {
    Conditions {
        rate_bps: Some(rate_kbps * 1000),
        ..Conditions::delayed(Duration::from_micros(rtt_ms * 500))
    }
}

/// A good home connection, on which nothing depends.
pub fn good() -> Path {
    Path::even(link(20, 20_000))
}
