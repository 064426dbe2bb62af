//! Whole clusters in virtual time: controllers, handlers and participants of the pure cores,
//! a network, a store and clocks, in one thread, from one seed. Everything goes wrong for a
//! while; then nothing does any more, and everybody has to be together again.
//!
//! The shells' part is done here without sockets and without rules: what is decided, is
//! decided by `core/placement`, `core/meeting`, `core/media` and `core/participant`. The store
//! is a model of `darktower_store::StateStore`. What must hold is in `model.rs`.

mod controller;
mod faults;
mod global;
mod links;
mod looks;
mod media;
mod messages;
mod model;
mod mutes;
mod opening;
mod person;
mod placing;
mod shard;
mod store;
mod trunks;

use std::collections::BTreeMap;
use std::time::Duration;

use darktower_link::Random;
use darktower_meeting::meeting;
use darktower_wire::ids::MeetingId;
use darktower_wire::signal;

use crate::Queue;
use controller::Controller;
use global::Global;
use media::Media;
use messages::{Message, Out, Place};
use model::Model;
use person::Person;
use store::{Ask, Store};

const WALL: u64 = 1_790_000_000_000;
const LEASE_TTL: Duration = Duration::from_secs(3);
/// So long everything goes wrong.
const FAULTS: Duration = Duration::from_secs(20);
/// So long after it everybody has to be together.
const QUIET: Duration = Duration::from_secs(60);

/// A bug in the simulated shell, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// None.
    Nothing,
    /// Store and handlers take what former owners say.
    SkipFence,
    /// Some changes are acknowledged that were never written.
    DropDelta,
    /// Who loses its connection loses its seat.
    ForgetSeat,
    /// A store that answers is thought to hold what it acknowledged.
    TrustStore,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The first rule that was broken, and when.
    pub broken: Option<String>,
    /// Joins and resumes that were acknowledged.
    pub acked: u64,
    /// How often a meeting got an owner.
    pub owners: u64,
    /// Messages that arrived, and a number made of all of them: the same for the same seed.
    pub messages: u64,
    /// See `messages`.
    pub digest: u64,
}

enum Happening {
    Arrives(Place, Place, Message),
    Wake(Place),
    Misfortune,
    StoreBack(Duration),
    Restart(Place),
    ComeAgain(usize),
    Reload(usize),
}

/// A cluster from one seed.
pub struct Cluster {
    now: Duration,
    queue: Queue<Happening>,
    random: Random,
    store: Store,
    global: Global,
    controllers: BTreeMap<u8, Controller>,
    handlers: BTreeMap<u8, Media>,
    persons: Vec<Person>,
    /// When each was last in the meeting, as it saw it.
    last_in: Vec<Duration>,
    next_node: u8,
    cuts: BTreeMap<(Place, Place), Duration>,
    paused: BTreeMap<Place, Duration>,
    armed: BTreeMap<Place, Duration>,
    quiet_from: Duration,
    model: Model,
    config: meeting::Config,
    plant: Plant,
    /// So many of a meeting are on one handler; 0: all.
    share: u32,
    /// Controllers hand single meetings on.
    hands_on: bool,
    /// Clocks are so many times as far apart as usual.
    skewed: i64,
    tells: bool,
    messages: u64,
    digest: u64,
}

fn record(meeting: MeetingId) -> signal::Meeting {
    signal::Meeting {
        id: meeting.to_vec().into(),
        code: "abc-defg-hij".to_owned(),
        title: "Simulated".to_owned(),
        max_participants: 100,
        key_in_link: true,
    }
}

impl Cluster {
    /// A cluster whose dice fall as `seed` says, with a bug or none. With `tells`, each step
    /// is told on the standard error.
    pub fn new(seed: u64, plant: Plant, tells: bool) -> Self {
        let mut random = Random::new(seed, 10);
        let seat_ttl = Duration::from_secs([300, 300, 6][(random.next_u64() % 3) as usize]);
        let empty_for = [60, 60, 1][(Random::new(seed, 12).next_u64() % 3) as usize];
        let config = meeting::Config {
            seat_ttl,
            empty_for: Duration::from_secs(empty_for),
            ..meeting::Config::default()
        };
        let mut cluster = Self {
            now: Duration::ZERO,
            queue: Queue::default(),
            random,
            store: Store::default(),
            global: Global::new(),
            controllers: BTreeMap::new(),
            handlers: BTreeMap::new(),
            persons: Vec::new(),
            last_in: Vec::new(),
            next_node: 0,
            cuts: BTreeMap::new(),
            paused: BTreeMap::new(),
            armed: BTreeMap::new(),
            quiet_from: FAULTS,
            model: Model::new(seat_ttl, FAULTS),
            config,
            plant,
            share: [0, 1, 2][(Random::new(seed, 13).next_u64() % 3) as usize],
            hands_on: seed % 4 == 3,
            // By six minutes, which is longer than a seat is held.
            skewed: if seed % 7 == 6 { 1200 } else { 1 },
            tells,
            messages: 0,
            digest: 0xcbf2_9ce4_8422_2325,
        };
        cluster.store.skips_fences = plant == Plant::SkipFence;
        cluster.store.skips_numbers = plant == Plant::TrustStore;
        for _ in 0..2 + cluster.random.next_u64() % 2 {
            cluster.start(Place::Controller(0));
        }
        for _ in 0..2 {
            cluster.start(Place::Handler(0));
        }
        let meetings = 1 + cluster.random.next_u64() % 2;
        for n in 0..meetings {
            let meeting = MeetingId([n as u8 + 1; 16]);
            for at in 0..2 + cluster.random.next_u64() % 2 {
                let half_trip = Duration::from_millis(2 + cluster.random.next_u64() % 60);
                let place = cluster.persons.len();
                cluster
                    .persons
                    .push(Person::new(place as u8, meeting, at == 0, half_trip));
                cluster.last_in.push(Duration::ZERO);
                let come = Duration::from_millis(1000 + cluster.random.next_u64() % 5000);
                cluster.queue.send(come, Happening::ComeAgain(place));
            }
        }
        cluster
            .queue
            .send(Duration::from_secs(3), Happening::Misfortune);
        cluster.plan_reloads(seed);
        cluster
    }

    /// In one of three clusters each page is loaded anew once, whatever goes wrong at that time.
    fn plan_reloads(&mut self, seed: u64) {
        let mut dice = Random::new(seed, 14);
        for at in (0..self.persons.len()).filter(|_| seed.is_multiple_of(3)) {
            let when = Duration::from_millis(7000 + dice.next_u64() % 12_000);
            self.queue.send(when, Happening::Reload(at));
        }
    }

    /// Runs to the end: a broken rule, or everybody together in the quiet.
    pub fn run(mut self) -> Report {
        self.run_until(self.quiet_from);
        self.note("it is quiet from here on".to_owned());
        for person in &mut self.persons {
            person.is_quiet = true;
        }
        let until = self.quiet_from + QUIET;
        let step = Duration::from_secs(2);
        // Processes that are to start again do so within this.
        let mut before: Option<Vec<BTreeMap<u32, u64>>> = None;
        while self.model.broken.is_none() {
            let apart = self.apart(before.as_deref());
            let Some(apart) = apart else {
                break;
            };
            if self.now >= until {
                self.model.break_rule(format!("no progress: {apart}"));
                break;
            }
            before = Some(self.persons.iter().map(|it| it.pictures.clone()).collect());
            self.run_until(self.now + step);
        }
        Report {
            broken: self
                .model
                .broken
                .map(|what| format!("at {:?}: {what}", self.now)),
            acked: self.model.acked,
            owners: self.model.moved,
            messages: self.messages,
            digest: self.digest,
        }
    }

    fn run_until(&mut self, until: Duration) {
        while self.model.broken.is_none() && self.queue.next_at().is_some_and(|at| at <= until) {
            let at = self.queue.next_at().unwrap_or(until);
            self.now = self.now.max(at);
            if let Some(happening) = self.queue.take(self.now) {
                self.happen(happening);
            }
            self.model.judge_answers(self.now);
        }
        if self.model.broken.is_none() {
            self.now = self.now.max(until);
        }
    }

    fn servers(&self) -> impl Iterator<Item = Place> {
        let controllers = self.controllers.keys().map(|n| Place::Controller(*n));
        controllers.chain(self.handlers.keys().map(|n| Place::Handler(*n)))
    }

    fn note(&self, what: String) {
        if self.tells {
            tell(&format!("{:>10.3?} {what}", self.now));
        }
    }

    fn start(&mut self, like: Place) {
        self.next_node += 1;
        let n = self.next_node;
        let place = match like {
            Place::Handler(_) => Place::Handler(n),
            _ => Place::Controller(n),
        };
        self.note(format!("{place:?} starts"));
        match place {
            Place::Handler(_) => {
                self.handlers
                    .insert(n, Media::new(self.now, place, self.plant));
            }
            _ => {
                let skew_ms = [0, 0, 300, -300][(self.random.next_u64() % 4) as usize];
                let skew_ms = skew_ms * self.skewed;
                let random = Random::new(self.random.next_u64(), 11);
                let config = self.config.clone();
                let controller = Controller::new(
                    self.now, place, config, skew_ms, self.share, self.plant, random,
                );
                self.controllers.insert(n, controller);
            }
        }
        self.arm(place);
    }

    /// Dead, and started again as another after a while.
    fn kill(&mut self, place: Place) {
        self.note(format!("{place:?} is killed"));
        match place {
            Place::Controller(n) => {
                self.controllers.remove(&n);
            }
            Place::Handler(n) => {
                let gone = self.handlers.remove(&n);
                let callers: Vec<_> = gone.iter().flat_map(Media::callers).collect();
                for (call, caller) in callers {
                    self.send(place, caller, Duration::ZERO, Message::Ended(call));
                }
            }
            _ => return,
        }
        self.paused.remove(&place);
        let back = self.now + Duration::from_millis(500 + self.random.next_u64() % 4000);
        self.queue.send(back, Happening::Restart(place));
    }

    fn drain(&mut self, place: Place) {
        self.note(format!("{place:?} drains"));
        let mut out = Out::default();
        match place {
            Place::Controller(n) => {
                if let Some(controller) = self.controllers.get_mut(&n) {
                    controller.drain(self.now, &mut out);
                }
            }
            Place::Handler(n) => {
                if let Some(handler) = self.handlers.get_mut(&n) {
                    handler.is_draining = true;
                }
            }
            _ => {}
        }
        self.carry(place, out);
        self.arm(place);
        // It is there for a while longer, beside the one that takes its place.
        self.start(place);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives(from, to, message) => self.arrive(from, to, message),
            Happening::Wake(place) => {
                self.armed.remove(&place);
                if let Some(until) = self.paused.get(&place).copied().filter(|it| *it > self.now) {
                    self.armed.insert(place, until);
                    return self.queue.send(until, Happening::Wake(place));
                }
                let mut out = Out::default();
                self.at(place, |now, it| it.wake(now, &mut out));
                self.settle(place, out);
            }
            Happening::Misfortune => self.misfortune(),
            Happening::StoreBack(lost) => {
                self.note("the store is back".to_owned());
                self.store.is_away = false;
                if !lost.is_zero() {
                    // Since before it was away: nothing was written meanwhile.
                    let changed = self.store.lose(self.now, lost);
                    self.model.store_lost(changed);
                }
            }
            Happening::Restart(place) => self.start(place),
            Happening::Reload(at) => self.reload(at),
            // It may have come already, by the dice.
            Happening::ComeAgain(at) if self.persons[at].wants => {}
            Happening::ComeAgain(at) => {
                self.comes(at);
                self.arm(Place::Person(at as u8));
            }
        }
    }

    fn reload(&mut self, at: usize) {
        if !self.persons[at].wants {
            return;
        }
        self.note(format!("person-{at} loads its page anew"));
        let mut out = Out::default();
        self.persons[at].reload(self.now, &mut out);
        self.settle(Place::Person(at as u8), out);
    }

    fn comes(&mut self, at: usize) {
        self.note(format!("person-{at} comes"));
        self.persons[at].come(self.now);
        self.model.mutes.comes(self.persons[at].id);
    }

    fn arrive(&mut self, from: Place, to: Place, message: Message) {
        if let Some(until) = self.paused.get(&to).copied().filter(|it| *it > self.now) {
            return self
                .queue
                .send(until, Happening::Arrives(from, to, message));
        }
        self.messages += 1;
        let line = (self.now.as_micros() as u64, from, to);
        let text = self.tells.then(|| message.name());
        for byte in format!("{line:?}").bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(text) = text {
            self.note(format!("{from:?} → {to:?}: {text}"));
        }
        let mut out = Out::default();
        match (to, message) {
            (Place::Store, Message::StoreLate(ask)) => {
                let is_former = |(meeting, fence)| fence < self.store.newest(meeting);
                let is_former = ask.fenced().is_some_and(is_former);
                if !self.store.is_away && (is_former || !matches!(ask, Ask::Forget(..))) {
                    let answer = self.store.take(self.now, ask.clone());
                    self.model.stored(&ask, &answer);
                }
            }
            (Place::Store, Message::Store(id, ask)) => {
                if !self.store.is_away {
                    let answer = self.store.take(self.now, ask.clone());
                    self.model.stored(&ask, &answer);
                    out.send(from, Message::Stored(id, answer));
                }
            }
            (to, message) => {
                let refused = match &message {
                    Message::Hold(id, _) | Message::Describe(id, _) | Message::Call(id) => {
                        Some(*id)
                    }
                    _ => None,
                };
                let is_there = self.at(to, |now, it| it.take(now, from, message, &mut out));
                if let (false, Some(id)) = (is_there, refused) {
                    out.send(from, Message::Nobody(id));
                }
            }
        }
        self.settle(to, out);
    }

    /// Does something with whoever is there; false where nobody is.
    fn at(&mut self, place: Place, does: impl FnOnce(Duration, Being<'_>)) -> bool {
        let being = match place {
            Place::Store => None,
            Place::Global => Some(Being::Global(&mut self.global)),
            Place::Controller(n) => self.controllers.get_mut(&n).map(Being::Controller),
            Place::Handler(n) => self.handlers.get_mut(&n).map(Being::Handler),
            Place::Person(n) => self.persons.get_mut(usize::from(n)).map(Being::Person),
        };
        let is_there = being.is_some();
        if let Some(being) = being {
            does(self.now, being);
        }
        is_there
    }

    /// Something was done at a place: what it decided goes out, and the rules are looked after.
    fn settle(&mut self, place: Place, out: Out) {
        self.carry(place, out);
        self.arm(place);
        match place {
            Place::Controller(n) => {
                if let Some(controller) = self.controllers.get(&n) {
                    for (number, shard) in &controller.shards {
                        self.model
                            .look(self.now, &self.store, place, *number, shard);
                    }
                }
            }
            Place::Person(n) => self.look_after(usize::from(n)),
            _ => {}
        }
    }

    fn carry(&mut self, from: Place, out: Out) {
        for fact in out.facts {
            self.model.fact(self.now, &self.store, fact);
        }
        for (delay, to, message) in out.sends {
            self.send(from, to, delay, message);
        }
    }

    fn send(&mut self, from: Place, to: Place, delay: Duration, mut message: Message) {
        let trip = match (from, to) {
            (Place::Person(n), _) | (_, Place::Person(n)) => self.persons[usize::from(n)].half_trip,
            _ => Duration::from_millis(1),
        };
        let mut leaves = self.now;
        if let Some(until) = self
            .cuts
            .get(&(from, to))
            .copied()
            .filter(|it| *it > self.now)
        {
            let Some(kept) = message.kept_back() else {
                return;
            };
            message = kept;
            leaves = until;
        }
        let arrives = Happening::Arrives(from, to, message);
        self.queue.send(leaves + delay + trip, arrives);
    }

    fn arm(&mut self, place: Place) {
        let deadline = match place {
            Place::Store => None,
            Place::Global => self.global.deadline(),
            Place::Controller(n) => self.controllers.get(&n).and_then(Controller::deadline),
            Place::Handler(n) => self.handlers.get(&n).and_then(Media::deadline),
            Place::Person(n) => self.persons[usize::from(n)].deadline(),
        };
        let Some(at) = deadline else {
            return;
        };
        let at = at.max(self.now);
        if self.armed.get(&place).is_none_or(|armed| at < *armed) {
            self.armed.insert(place, at);
            self.queue.send(at, Happening::Wake(place));
        }
    }
}

enum Being<'a> {
    Global(&'a mut Global),
    Controller(&'a mut Controller),
    Handler(&'a mut Media),
    Person(&'a mut Person),
}

impl Being<'_> {
    fn wake(self, now: Duration, out: &mut Out) {
        match self {
            Self::Global(it) => it.wake(now, out),
            Self::Controller(it) => it.wake(now, out),
            Self::Handler(it) => it.wake(now, out),
            Self::Person(it) => it.wake(now, out),
        }
    }

    fn take(self, now: Duration, from: Place, message: Message, out: &mut Out) {
        match self {
            Self::Global(it) => it.take(now, from, message, out),
            Self::Controller(it) => it.take(now, from, message, out),
            Self::Handler(it) => it.take(now, from, message, out),
            Self::Person(it) => it.take(now, message, out),
        }
    }
}

#[expect(clippy::print_stderr, reason = "whoever replays a seed reads it")]
fn tell(line: &str) {
    eprintln!("{line}");
}
