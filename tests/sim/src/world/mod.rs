//! One meeting, its controller, its handler and everybody in it.

mod door;
mod effects;
mod end;
mod events;
mod plot;

use std::collections::BTreeMap;
use std::time::Duration;

use darktower_link::Random;
use darktower_media::forwarder::SessionId as MediaSession;
use darktower_meeting::Meeting;
use darktower_meeting::meeting::{self, SessionId};
use darktower_participant::{Command, Input, Link, State};
use darktower_wire::Code;
use darktower_wire::framing::Decoder;
use darktower_wire::ids::{MeetingId, NodeId, ParticipantId};
use darktower_wire::signal;

use crate::handler::Handler;
use crate::network::Queue;

pub use end::End;
use end::{AUDIO, VIDEO};
use events::Event;
pub use plot::Plot;

const WALL: u64 = 1_790_000_000_000;

/// A meeting in virtual time.
pub struct World {
    /// Since the beginning.
    pub now: Duration,
    /// Everybody who was ever there, in order of coming.
    pub ends: Vec<End>,
    /// The controller's end.
    pub meeting: Meeting,
    handler: Handler,
    queue: Queue<Event>,
    random: Random,
    decoders: BTreeMap<SessionId, Decoder>,
    signals: BTreeMap<SessionId, usize>,
    medias: BTreeMap<MediaSession, usize>,
    next_session: u64,
    key_in_link: bool,
    /// Somebody's picture of it all may differ.
    changed: bool,
    /// Whether cameras and microphones run.
    pub capturing: bool,
    /// Flips a bit of what the handler sends to participants, one in so many.
    pub tamper_one_in: Option<u64>,
    /// What controller and handler do together.
    pub plot: Option<Plot>,
    /// The first to come.
    host: Option<ParticipantId>,
}

const SECRET: &str = "AAECAwQFBgcICQoLDA0ODw";

impl World {
    /// An empty meeting whose dice fall as `seed` says, and whose keys need the secret of the link.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, true)
    }

    /// The same, whose keys need the secret of the link or not.
    pub fn with(seed: u64, key_in_link: bool) -> Self {
        let record = signal::Meeting {
            id: MeetingId([9; 16]).to_vec().into(),
            code: "abc-defg-hij".to_owned(),
            title: "Simulated".to_owned(),
            max_participants: 100,
            key_in_link,
        };
        let meeting = Meeting::new(meeting::Config::default(), record, Duration::ZERO, WALL)
            .unwrap_or_else(|error| unreachable!("the id has 16 bytes: {error}"));
        let mut world = Self {
            now: Duration::ZERO,
            ends: Vec::new(),
            meeting,
            handler: Handler::new(),
            queue: Queue::default(),
            random: Random::new(seed, 0),
            decoders: BTreeMap::new(),
            signals: BTreeMap::new(),
            medias: BTreeMap::new(),
            next_session: 1,
            key_in_link,
            changed: true,
            capturing: true,
            tamper_one_in: None,
            plot: None,
            host: None,
        };
        let assignment = signal::MediaAssignment {
            url: "https://media/v1/media".into(),
            ..Default::default()
        };
        let node = NodeId([5; 16]);
        let handler = meeting::Handler {
            node,
            trunk_url: assignment.url.clone(),
            assignment,
            trunk_secret: [0; 32].into(),
        };
        world
            .meeting
            .handle(world.now, meeting::Input::Handler(Some(handler)));
        world.drain_meeting();
        world
    }

    fn wall(&self) -> u64 {
        WALL + self.now.as_millis() as u64
    }

    fn random_bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.random.next_u64() as u8)
    }

    /// Somebody opens the link `round_trip` away; cold, they join at once. The first is the host.
    pub fn enter(&mut self, round_trip: Duration) -> usize {
        let secret = self.key_in_link.then_some(SECRET);
        self.enter_with(round_trip, secret)
    }

    /// Somebody comes with another secret (base64url), or none.
    pub fn enter_with(&mut self, round_trip: Duration, link_secret: Option<&str>) -> usize {
        let id = ParticipantId(self.random_bytes());
        self.host.get_or_insert(id);
        let access = self.access(id);
        let end = self.ends.len();
        self.ends.push(End::new(self.now, round_trip));
        let command = serde_json::json!({
            "do": "enter", "access": access, "link_secret": link_secret,
        });
        self.command(end, command);
        end
    }

    /// Joins under a name, with a camera and a microphone.
    pub fn join(&mut self, end: usize) {
        self.ends[end].clicked = Some(self.now);
        self.ends[end].sending = true;
        let now = self.now;
        self.ends[end].start_at(now);
        let offers = serde_json::json!([
            {"handle": VIDEO, "source": "camera", "codec": "vp8", "width": 640, "height": 360},
            {"handle": AUDIO, "source": "microphone", "codec": "opus"},
        ]);
        let command = serde_json::json!({
            "do": "join", "name": format!("Participant {end}"), "tracks": offers,
        });
        self.command(end, command);
    }

    /// Any wish in JSON.
    pub fn command(&mut self, end: usize, json: serde_json::Value) {
        match serde_json::from_value::<Command>(json) {
            Ok(command) => self.input(end, Input::Command(command)),
            Err(error) => unreachable!("the world speaks well: {error}"),
        }
    }

    /// Everything of this participant's network is gone without a word; the
    /// servers notice after a while, the participant when it next listens.
    pub fn cut(&mut self, end: usize) {
        for link in [Link::Signal, Link::Media] {
            self.hang_up(end, link);
            let connection = self.ends[end].connection[index(link)];
            let code = Code::ConnectionLost;
            self.queue.send(
                self.now,
                Event::Down {
                    end,
                    link,
                    connection,
                    code,
                },
            );
        }
    }

    /// Somebody's picture of it all.
    pub fn state(&self, end: usize) -> State {
        self.ends[end].participant.state()
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.next_at().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.step();
        }
        self.now = until;
    }

    /// Lets time pass until something is true of what participants show; false where `limit` passed first.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let until = self.now + limit;
        self.changed = true;
        loop {
            if std::mem::take(&mut self.changed) && done(self) {
                return true;
            }
            let Some(at) = self.next_at().filter(|at| *at <= until) else {
                return false;
            };
            self.now = at.max(self.now);
            self.step();
        }
    }

    fn next_at(&self) -> Option<Duration> {
        let ends = self.ends.iter().flat_map(|end| {
            let sending =
                (end.sending && self.capturing).then(|| end.next_frame.min(end.next_packet));
            [end.participant.deadline(), sending]
        });
        let others = [
            self.queue.next_at(),
            self.meeting.deadline(),
            self.handler.deadline(),
        ];
        ends.chain(others).flatten().min()
    }

    fn step(&mut self) {
        while let Some(event) = self.queue.take(self.now) {
            self.happen(event);
        }
        if self.meeting.deadline().is_some_and(|at| at <= self.now) {
            self.meeting.handle(self.now, meeting::Input::Tick);
            self.drain_meeting();
        }
        if self.handler.deadline().is_some_and(|at| at <= self.now) {
            self.handler.tick(self.now);
            self.drain_handler();
        }
        for end in 0..self.ends.len() {
            self.capture(end);
            if self.ends[end]
                .participant
                .deadline()
                .is_some_and(|at| at <= self.now)
            {
                self.input(end, Input::Tick);
            }
        }
    }
}

fn index(link: Link) -> usize {
    match link {
        Link::Signal => 0,
        Link::Media => 1,
    }
}
