//! Everybody who signals: the ways to the system that they share, and what they count together.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use darktower_client::{Api, CreateMeeting};
use darktower_load::fanout::tally::Delays;
use darktower_net::{Client, Fingerprint, ServerTrust, Tuning};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::participant::{Joined, Participant};

/// A controller takes a limited number of connections from one address, so participants come from several, and a
/// socket's buffer holds a limited number of packets, so they have several sockets.
const ADDRESSES: u8 = 4;
const SOCKETS: usize = 32;
/// HTTP connections that are kept.
const CONNECTIONS: usize = 16;

/// All of them.
pub(crate) struct Crowd {
    apis: Vec<Api>,
    clients: Vec<Client>,
    codes: Mutex<Vec<String>>,
    origin: Instant,
    over: watch::Sender<bool>,
    counts: Counts,
    pings: Mutex<Delays>,
}

#[derive(Default)]
struct Counts {
    said: AtomicU64,
    heard: AtomicU64,
    present: AtomicU64,
    lost: AtomicU64,
}

/// How joins went.
#[derive(Default)]
pub(crate) struct Joins {
    pub(crate) looked_up: Delays,
    pub(crate) connected: Delays,
    pub(crate) done: Delays,
    pub(crate) count: u64,
    pub(crate) failed: u64,
    pub(crate) again: u64,
    pub(crate) first_error: Option<String>,
}

/// When joins begin.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// So many a second, however the ones before went.
    Every(Duration),
    /// As fast as so many at a time can.
    AtOnce(usize),
}

impl Crowd {
    /// Nobody yet.
    pub(crate) async fn new(api: &str) -> anyhow::Result<Arc<Self>> {
        let apis = (0..CONNECTIONS).map(|_| Api::new(api));
        let apis = apis.collect::<Result<Vec<_>, _>>()?;
        let created = apis[0].create_meeting(&CreateMeeting::default()).await?;
        let access = apis[0].lookup(&created.meeting.code, None).await?;
        let hashes = access.signal.certificate_sha256.into_iter();
        let trust = ServerTrust::Hashes(hashes.map(Fingerprint).collect());
        let clients = (0..SOCKETS).zip((1..=ADDRESSES).cycle()).map(|(_, host)| {
            let local = IpAddr::from(Ipv4Addr::new(127, 0, 0, host));
            Client::from_address(trust.clone(), &Tuning::default(), local)
        });
        Ok(Arc::new(Self {
            clients: clients.collect::<Result<_, _>>()?,
            apis,
            codes: Mutex::default(),
            origin: Instant::now(),
            over: watch::channel(false).0,
            counts: Counts::default(),
            pings: Mutex::default(),
        }))
    }

    pub(crate) fn api(&self, number: usize) -> &Api {
        &self.apis[number % self.apis.len()]
    }

    pub(crate) fn client(&self, number: usize) -> &Client {
        &self.clients[number % self.clients.len()]
    }

    /// Creates meetings until there are so many; gives the codes of the new ones.
    pub(crate) async fn create(self: &Arc<Self>, upto: usize) -> anyhow::Result<Vec<String>> {
        let had = self.codes().len();
        let mut making = JoinSet::new();
        let turns = Arc::new(Semaphore::new(CONNECTIONS));
        for number in had..upto {
            let (this, turns) = (self.clone(), turns.clone());
            making.spawn(async move {
                let _turn = turns.acquire().await?;
                let api = this.api(number);
                let created = api.create_meeting(&CreateMeeting::default()).await?;
                anyhow::Ok(created.meeting.code)
            });
        }
        let mut new = Vec::new();
        while let Some(code) = making.join_next().await {
            new.push(code??);
        }
        self.codes().extend(new.iter().cloned());
        Ok(new)
    }

    /// The code of the meeting with this number, round and round.
    pub(crate) fn code(&self, number: usize) -> String {
        let codes = self.codes();
        codes[number % codes.len()].clone()
    }

    /// Somebody joins each of these meetings in turn; back when all have, or failed to. They stay.
    pub(crate) async fn join<'a>(
        self: &Arc<Self>,
        meetings: impl IntoIterator<Item = &'a String>,
        pace: Pace,
    ) -> anyhow::Result<Joins> {
        let mut joining = JoinSet::new();
        let turns = match pace {
            Pace::Every(_) => Semaphore::MAX_PERMITS,
            Pace::AtOnce(turns) => turns,
        };
        let turns = Arc::new(Semaphore::new(turns));
        let begin = Instant::now();
        for (number, code) in meetings.into_iter().enumerate() {
            let due = match pace {
                Pace::Every(period) => begin + period * u32::try_from(number)?,
                Pace::AtOnce(_) => begin,
            };
            sleep_until(due).await;
            let turn = turns.clone().acquire_owned().await?;
            let due = match pace {
                Pace::Every(_) => due,
                Pace::AtOnce(_) => Instant::now(),
            };
            let (this, code) = (self.clone(), code.clone());
            joining.spawn(async move {
                let joined = Participant::join(&this, number, &code, due).await;
                drop(turn);
                joined.map(|(participant, joined)| {
                    this.counts.present.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(async move { participant.stay(&this).await });
                    joined
                })
            });
        }
        let mut joins = Joins::default();
        while let Some(joined) = joining.join_next().await {
            joins.add(joined?);
        }
        Ok(joins)
    }

    /// Resolves when the load ends.
    pub(crate) async fn over(&self) {
        let mut over = self.over.subscribe();
        // The sender is in `self`.
        let _ended = over.wait_for(|over| *over).await;
    }

    /// Everybody goes.
    pub(crate) fn end(&self) {
        self.over.send_replace(true);
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.origin.elapsed().as_micros() as u64
    }

    pub(crate) fn said(&self) {
        self.counts.said.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn heard(&self) {
        self.counts.heard.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn pong(&self, sent_us: u64) {
        let us = self.now_us().saturating_sub(sent_us);
        let mut pings = self.pings.lock().unwrap_or_else(PoisonError::into_inner);
        pings.add(us);
    }

    pub(crate) fn lost(&self, error: &anyhow::Error) {
        if self.counts.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            crate::progress(&format!("a session ended: {error:#}"));
        }
    }

    /// Messages said and heard so far.
    pub(crate) fn messages(&self) -> (u64, u64) {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (count(&self.counts.said), count(&self.counts.heard))
    }

    /// Participants who came, and of them those whose session ended by itself.
    pub(crate) fn people(&self) -> (u64, u64) {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (count(&self.counts.present), count(&self.counts.lost))
    }

    /// How long pings took since the last call.
    pub(crate) fn take_pings(&self) -> Delays {
        let mut pings = self.pings.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut pings)
    }

    fn codes(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Joins {
    fn add(&mut self, joined: anyhow::Result<Joined>) {
        let us = |time: Duration| time.as_micros() as u64;
        match joined {
            Ok(joined) => {
                self.count += 1;
                self.again += u64::from(joined.again);
                self.looked_up.add(us(joined.looked_up));
                self.connected.add(us(joined.connected));
                self.done.add(us(joined.done));
            }
            Err(error) => {
                self.failed += 1;
                self.first_error.get_or_insert(format!("{error:#}"));
            }
        }
    }
}

/// What an API answered in a closed loop.
pub(crate) struct Answers {
    pub(crate) delays: Delays,
    pub(crate) count: u64,
    pub(crate) failed: u64,
}

/// Asks the API for `time` on some connections, each the next question when the last was answered.
pub(crate) async fn ask(
    crowd: &Arc<Crowd>,
    what: Question,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Answers> {
    let until = Instant::now() + time;
    let mut loops = JoinSet::new();
    for connection in 0..connections {
        let crowd = crowd.clone();
        loops.spawn(async move {
            let (api, mut number) = (crowd.api(connection).clone(), connection);
            let mut answers = Answers {
                delays: Delays::default(),
                count: 0,
                failed: 0,
            };
            while Instant::now() < until {
                let code = crowd.code(number);
                number += connections;
                let asked = Instant::now();
                let answer = match what {
                    Question::Lookup => api.lookup(&code, None).await.map(drop),
                    Question::Token => api.guest_token(&code).await.map(drop),
                };
                match answer {
                    Ok(()) => {
                        answers.count += 1;
                        answers.delays.add(asked.elapsed().as_micros() as u64);
                    }
                    Err(error) => {
                        if answers.failed == 0 {
                            crate::progress(&format!("the API: {error}"));
                        }
                        answers.failed += 1;
                    }
                }
            }
            answers
        });
    }
    let mut all: Option<Answers> = None;
    while let Some(answers) = loops.join_next().await {
        let answers = answers?;
        match &mut all {
            Some(all) => {
                all.delays.merge(&answers.delays);
                all.count += answers.count;
                all.failed += answers.failed;
            }
            None => all = Some(answers),
        }
    }
    all.context("no connections")
}

/// What the API is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// `GET /api/v1/meetings/{code}`.
    Lookup,
    /// `POST /api/v1/auth/token`.
    Token,
}
