//! The whole of one end: commands and network in, effects out.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use darktower_wire::Code;
use darktower_wire::ids::TrackId;

use crate::attendance::Attendance;
use crate::command::{Command, Encoded};
use crate::output::{Event, Link, Output, StreamId};
use crate::state::{Phase, Problem, State};

/// A fact or a wish.
#[derive(Debug, Clone)]
pub enum Input {
    /// The deadline has come.
    Tick,
    /// A wish.
    Command(Command),
    /// A link is open.
    LinkUp {
        /// Which.
        link: Link,
        /// The largest datagram it takes, in bytes (media link).
        max_datagram: usize,
    },
    /// The connection beside the one that stands, stands as well.
    Beside(Link),
    /// A link could not be opened or is gone.
    LinkDown {
        /// Which.
        link: Link,
        /// The peer's close code, or `connect_failed` or `connection_lost`.
        code: Code,
    },
    /// Bytes of a stream arrived.
    StreamData {
        /// On which link.
        link: Link,
        /// Which stream.
        stream: StreamId,
        /// The bytes, in order.
        bytes: Bytes,
        /// Nothing follows.
        fin: bool,
    },
    /// The peer gave up a stream it writes, or refuses one it reads.
    StreamReset {
        /// On which link.
        link: Link,
        /// Which stream.
        stream: StreamId,
    },
    /// So many bytes of an own stream are taken over and not sent.
    Backlog {
        /// On which link.
        link: Link,
        /// Which stream.
        stream: StreamId,
        /// How many.
        bytes: usize,
    },
    /// A datagram arrived on the media link.
    Datagram(Bytes),
    /// A decoder needs a key frame to go on.
    KeyFrameWanted(TrackId),
}

/// One participant of one meeting at a time.
///
/// `handle` takes what happened, `poll` gives what to do about it, `deadline`
/// says when to come back at the latest. `now` is monotone time since an origin
/// of the shell's choice, `wall` Unix time in milliseconds.
#[derive(Debug, Default)]
pub struct Participant {
    attendance: Option<Box<Attendance>>,
    /// What this end decodes; empty while it is not known.
    decodes: Vec<String>,
    /// Why no attendance could begin.
    failed: Option<Problem>,
    outputs: VecDeque<Output>,
}

impl Participant {
    /// Nobody anywhere yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Something happened or is wished for.
    pub fn handle(&mut self, now: Duration, wall: u64, input: Input) {
        match input {
            Input::Command(Command::Enter {
                access,
                link_secret,
                traceparent,
            }) => {
                self.begin(now, wall, |now, wall| {
                    Attendance::enter(now, wall, *access, link_secret, traceparent)
                });
            }
            Input::Command(Command::Resume {
                access,
                resume,
                link_secret,
                traceparent,
            }) => {
                self.begin(now, wall, |now, wall| {
                    Attendance::resume(now, wall, *access, &resume, link_secret, traceparent)
                });
            }
            Input::Command(Command::Decodes { codecs }) => {
                self.decodes = codecs;
                self.tell_decodes(now, wall);
            }
            input => match &mut self.attendance {
                Some(attendance) => attendance.handle(now, wall, input),
                None => self.refuse(input),
            },
        }
    }

    /// Seals and sends one encoded chunk of an own track.
    pub fn encoded(&mut self, now: Duration, encoded: Encoded<'_>) {
        if let Some(attendance) = &mut self.attendance {
            attendance.encoded(now, encoded);
        }
    }

    /// The next effect to perform.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs
            .pop_front()
            .or_else(|| self.attendance.as_mut()?.poll())
    }

    /// When `Tick` is due at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        self.attendance.as_ref()?.deadline()
    }

    /// The picture for a screen.
    pub fn state(&self) -> State {
        match (&self.attendance, &self.failed) {
            (Some(attendance), _) => attendance.state(),
            (None, Some(problem)) => State {
                phase: Phase::Failed,
                error: Some(problem.clone()),
                ..State::default()
            },
            (None, None) => State::default(),
        }
    }

    fn begin(
        &mut self,
        now: Duration,
        wall: u64,
        attend: impl FnOnce(Duration, u64) -> Result<Attendance, Code>,
    ) {
        if let Some(former) = &mut self.attendance {
            former.abandon(now);
            while let Some(output) = former.poll() {
                self.outputs.push_back(output);
            }
        }
        match attend(now, wall) {
            Ok(attendance) => {
                self.failed = None;
                self.attendance = Some(Box::new(attendance));
                self.tell_decodes(now, wall);
            }
            Err(code) => {
                self.attendance = None;
                self.failed = Some(Problem::of(code, code.description()));
            }
        }
        self.outputs.push_back(Output::Changed);
    }

    fn tell_decodes(&mut self, now: Duration, wall: u64) {
        if let Some(attendance) = &mut self.attendance {
            let codecs = self.decodes.clone();
            attendance.handle(now, wall, Input::Command(Command::Decodes { codecs }));
        }
    }

    /// A wish before any attendance is answered; late news of links are nothing.
    fn refuse(&mut self, input: Input) {
        if let Input::Command(_) = input {
            let code = Code::OutOfOrder;
            let event = Event::Refused {
                code: code.name(),
                number: code.number(),
            };
            self.outputs.push_back(Output::Event(event));
        }
    }
}
