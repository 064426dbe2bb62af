//! The load, on the relay's own client: one broadcast with a track, and subscribers with a connection each.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use darktower_load::fanout::scene::VIDEO_BYTES;
use darktower_load::fanout::stage::Measured;
use darktower_load::fanout::stamp::{self, Stamp};
use darktower_load::fanout::tally::{Faults, Seen, Tally};
use darktower_load::fanout::usage::{Usage, resident_kb};
use darktower_wire::ids::TrackId;
use darktower_wire::media::{Frame, Header};
use moq_net::{Timestamp, track};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use url::Url;

use crate::relay::Relay;

const BROADCAST: &str = "meeting";
const TRACK: &str = "camera";
const EVERY: Duration = Duration::from_nanos(1_000_000_000 / 30);
/// Frames of a group, as in `bench-fanout`.
const GROUP: u64 = 60;
const JOIN_WITHIN: Duration = Duration::from_secs(60);
const WARM: Duration = Duration::from_secs(3);
/// Frames that are still under way when a measurement ends get this long.
const LATE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);
/// A group's tail is not given up when the next one begins: all frames are to come.
const MAX_AGE: Duration = Duration::from_secs(4);

/// Who is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) subscribers: usize,
}

/// What has been counted, by all tasks together.
struct Ledger {
    origin: Instant,
    period: AtomicU32,
    up: AtomicU32,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    periods: BTreeMap<u32, Tally>,
    whole: u64,
    faults: Faults,
}

impl Ledger {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn period(&self) -> u32 {
        self.period.load(Ordering::Relaxed)
    }
}

fn client() -> anyhow::Result<moq_tokio::Client> {
    let mut config = moq_tokio::connect::Config::default();
    config.tls.insecure = Some(true);
    config.once = Some(true);
    config.bind = Some("127.0.0.1:0".parse()?);
    Ok(config.init(Default::default())?)
}

/// Lets everybody join, and measures the relay for `time`.
pub(crate) async fn measure(
    relay: &Relay,
    crowd: Crowd,
    time: Duration,
) -> anyhow::Result<Measured> {
    let url = Url::parse(&format!("https://localhost:{}/", relay.addr.port()))?;
    let addr = moq_tokio::connect::Addr::pinned(url, [relay.addr])?;
    let ledger = Arc::new(Ledger {
        origin: Instant::now(),
        period: AtomicU32::new(0),
        up: AtomicU32::new(0),
        counts: Mutex::default(),
    });
    let mut tasks = JoinSet::new();
    let audience = crowd.subscribers as u64;
    tasks.spawn(publish(addr.clone(), ledger.clone(), audience));
    wait(&mut tasks, "the publisher", || {
        ledger.up.load(Ordering::Relaxed) == 1
    })
    .await?;
    let empty_kb = resident_kb(relay.pid)?;
    for _ in 0..crowd.subscribers {
        tasks.spawn(subscribe(addr.clone(), ledger.clone()));
    }
    let all = crowd.subscribers as u32 + 1;
    wait(&mut tasks, "all subscribers", || {
        ledger.up.load(Ordering::Relaxed) == all
    })
    .await?;
    sleep(WARM).await;

    ledger.period.store(1, Ordering::Relaxed);
    let (used, whole) = (Usage::of(relay.pid)?, ledger.counts().whole);
    let client_used = Usage::of(std::process::id())?;
    let began = Instant::now();
    sleep(time).await;
    let took = began.elapsed();
    let usage = Usage::of(relay.pid)?;
    let cpu = usage.since(&used)?;
    let waited = usage.waited_since(&used);
    let client_cpu = Usage::of(std::process::id())?.since(&client_used)?;
    let whole = ledger.counts().whole - whole;
    let resident = resident_kb(relay.pid)?;
    ledger.period.store(2, Ordering::Relaxed);
    let deadline = Instant::now() + LATE;
    let (tally, faults) = loop {
        let (tally, faults) = {
            let counts = ledger.counts();
            let tally = counts.periods.get(&1).cloned().unwrap_or_default();
            (tally, counts.faults)
        };
        if tally.missing() == 0 || Instant::now() >= deadline {
            break (tally, faults);
        }
        sleep(LOOK).await;
    };
    let mut ended = Vec::new();
    while let Some(done) = tasks.try_join_next() {
        ended.push(
            done?
                .err()
                .map_or_else(|| "ended".to_owned(), |e| format!("{e:#}")),
        );
    }
    tasks.shutdown().await;
    Ok(Measured {
        time: took,
        cpu,
        waited,
        client_cpu,
        whole: [whole, 0],
        tally,
        kb_per_session: resident.saturating_sub(empty_kb) as f64 / f64::from(all - 1),
        resident_kb: resident,
        faults: Faults {
            ended: ended.len() as u64,
            ..faults
        },
        held_back: 0,
        narrowest_bps: None,
        endings: ended,
    })
}

async fn wait(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    what: &str,
    reached: impl Fn() -> bool,
) -> anyhow::Result<()> {
    let looking = async {
        while !reached() {
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        looked = timeout(JOIN_WITHIN, looking) => {
            looked.with_context(|| format!("{what}: not there in time"))
        }
        Some(done) = tasks.join_next() => {
            done??;
            anyhow::bail!("{what}: a connection ended")
        }
    }
}

async fn publish(
    addr: moq_tokio::connect::Addr,
    ledger: Arc<Ledger>,
    audience: u64,
) -> anyhow::Result<()> {
    let origin = moq_tokio::origin::spawn();
    let broadcast = origin.create_broadcast(BROADCAST)?;
    let track = broadcast.create_track(TRACK, track::Info::default())?;
    broadcast.announce(Default::default())?;
    let client = client()?.with_publisher(&origin);
    let connection = client.connect(addr).established().await?;
    ledger.up.fetch_add(1, Ordering::Relaxed);
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut open: Option<moq_net::group::Producer> = None;
    for sequence in 0_u64.. {
        tokio::select! {
            _ = every.tick() => {}
            closed = connection.closed() => return Ok(closed?),
        }
        let number = sequence % GROUP;
        if number == 0 {
            if let Some(group) = open.take() {
                group.finish()?;
            }
            open = Some(track.append_group()?);
        }
        let stamp = Stamp {
            period: ledger.period(),
            sequence,
            sent_us: ledger.now_us(),
        };
        let header = Header {
            track: TrackId(1),
            group: sequence / GROUP,
            frame: number,
            key: number == 0,
            capture_us: stamp.sent_us,
            ..Header::default()
        };
        {
            let mut counts = ledger.counts();
            let tally = counts.periods.entry(stamp.period).or_default();
            tally.video.sent += 1;
            tally.video.expected += audience;
        }
        let frame = stamp::write(&header, &stamp, VIDEO_BYTES);
        let group = open.as_mut().context("no group")?;
        group.write_frame(Timestamp::now(), frame)?;
    }
    Ok(())
}

async fn subscribe(addr: moq_tokio::connect::Addr, ledger: Arc<Ledger>) -> anyhow::Result<()> {
    let origin = moq_tokio::origin::spawn();
    let client = client()?.with_subscriber(origin.clone());
    let connection = client.connect(addr).established().await?;
    let consumer = origin.consume();
    let mut announced = consumer.announced();
    while let Some(update) = announced.next().await {
        if update.kind.is_active() && update.prefix.as_str() == BROADCAST {
            break;
        }
    }
    let broadcast = consumer.request_broadcast(BROADCAST).await?;
    let wanted = track::Subscription::default().with_max_age(MAX_AGE);
    let mut track = broadcast.track(TRACK)?.subscribe(wanted).await?;
    ledger.up.fetch_add(1, Ordering::Relaxed);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut groups = JoinSet::new();
    loop {
        tokio::select! {
            group = track.recv_group() => match group? {
                Some(group) => {
                    groups.spawn(receive(group, seen.clone(), ledger.clone()));
                }
                None => anyhow::bail!("the track has ended"),
            },
            Some(done) = groups.join_next() => {
                if done?.is_err() {
                    ledger.counts().faults.resets += 1;
                }
            }
            closed = connection.closed() => return Ok(closed?),
        }
    }
}

async fn receive(
    mut group: moq_net::group::Consumer,
    seen: Arc<Mutex<Seen>>,
    ledger: Arc<Ledger>,
) -> anyhow::Result<()> {
    let mut last = None;
    while let Some(frame) = group.read_frame().await? {
        let now_us = ledger.now_us();
        let frame = Frame::parse(frame.payload)?;
        let read = stamp::read(&frame, VIDEO_BYTES);
        let is_new = |stamp: &Stamp| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.take(stamp.sequence)
        };
        let mut counts = ledger.counts();
        if frame.header.frame != last.map_or(0, |last: u64| last + 1) {
            counts.faults.gaps += 1;
        }
        last = Some(frame.header.frame);
        match read {
            Ok(stamp) if is_new(&stamp) => {
                counts.whole += 1;
                let video = &mut counts.periods.entry(stamp.period).or_default().video;
                video.got += 1;
                video.delays.add(now_us.saturating_sub(stamp.sent_us));
            }
            Ok(_) => counts.faults.repeated += 1,
            Err(_) => counts.faults.broken += 1,
        }
    }
    Ok(())
}
