//! What is done to whom, and what must hold.

use std::time::Duration;

/// What it is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The meeting controller that owns most meetings.
    Controller,
    /// The media handler that most meetings are on.
    Handler,
    /// All meeting controllers but one, which come when the others' meetings are there.
    Controllers,
    /// Two media handlers of three.
    Handlers,
    /// The global controller that newcomers ask first.
    Global,
    /// PostgreSQL.
    Database,
    /// The machine of the primary: its PostgreSQL, and the Patroni that watches it.
    Primary,
    /// The primary's PostgreSQL alone.
    PrimaryServer,
    /// The master of the Redis Cluster that the registry of nodes is on, and a third of all meetings.
    Master,
    /// All of them.
    Masters,
    /// The paths of all participants, to controllers and handlers alike.
    Paths,
    /// One participant of each meeting.
    Participant,
    /// All processes, one after the other.
    Release,
    /// One process of each kind in turn.
    Each,
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    /// `kill -9`.
    Kill,
    /// It stands still, and goes on when everybody is back.
    Pause,
    /// SIGTERM: it goes in order.
    Stop,
    /// It is cut off, a controller from the state store alone, a handler from its controllers' calls, until everybody
    /// is back.
    Cut,
    /// Nothing comes through for so long.
    Outage(Duration),
    /// Every participant's packets come from another port, `moved`: of another address.
    Rebind { moved: bool },
    /// Its datagrams are lost until everybody is back, where participants alone reach it through a relay theirs: those
    /// that leave it, or all.
    Mute { both: bool },
    /// So many of a hundred of its datagrams are lost each way, until everybody is back.
    Lose { percent: u32 },
    /// It stands still for so long, as a laptop does that is closed.
    Sleep(Duration),
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// From the blow until each participant of the meetings concerned is back in the meeting.
    Back,
    /// The same of hundreds, all on it, and nearly all of them in half the time.
    AllBack,
    /// From the blow until newcomers, who ask all the time, are told the way each time.
    Lookup,
    /// From the blow until a newcomer is told the way, and a meeting is refused with 503 and a time to come again, within
    /// a second.
    Known,
    /// From the blow until those who create meetings all the time can do so each time, and every meeting that was ever
    /// acknowledged is there.
    Written,
    /// From the blow until meetings can be created and joined again, and those joined that were on the master.
    Create,
    /// The longest time without a new frame, for each sender and receiver of the meetings concerned.
    Gap,
    /// The same where all stay on the connections that they have.
    Through,
    /// The same for so long, and the handler goes on being used.
    Kept(Duration),
    /// The same for so long after the blow, of which nobody may notice anything.
    Still(Duration),
    /// From the blow until newcomers to the meetings concerned are sent elsewhere; no new meeting comes to it before it
    /// is healed, and some do after.
    Avoided,
    /// The longest time without a new frame while all processes are replaced by those of this release, or of the
    /// previous one; who joins meanwhile gets in.
    Rolled { back: bool },
    /// From the blow until everybody is on the handler that is left, or told that it has no room.
    Told,
    /// From the coming of other controllers until none carries much more than the others.
    Evened,
    /// From coming until being in the meeting, for one each second, while something fails each minute.
    Soaked,
    /// From its waking until the others see it again: on the seat that was held, or as somebody new.
    Seat { held: bool },
}

/// What the processes run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// One Redis, and SQLite.
    Plain,
    /// As `Plain`; participants reach the global controllers by HAProxy.
    Proxied,
    /// One Redis, and PostgreSQL.
    Postgres,
    /// One Redis, and two PostgreSQLs under Patroni behind HAProxy.
    Patroni,
    /// A Redis Cluster of six, and SQLite.
    Cluster,
    /// As `Plain`; controllers and handlers are reached through relays.
    Relays,
    /// As `Plain`; each controller reaches Redis through a relay of its own, and so do controllers each handler.
    Cuttable,
    /// As `Plain`; whoever sends datagrams to a handler, controllers among them, does so through a relay.
    Fronted,
    /// As `Plain`; a handler takes three participants of five.
    Small,
    /// As `Plain`; a controller takes twice as many participants as there are.
    Busy,
    /// As `Plain`; each meeting is on all handlers, two or so of it on each.
    Spread,
    /// As `Plain`; seats are held for so many seconds.
    Seats(u64),
}

/// What a row takes. Where that is much it is played if it is asked for by its whole name, or with all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// A minute or so.
    Little,
    /// Many minutes: it is played once.
    Long,
    /// The program of the previous release.
    Previous,
}

/// One row of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) victim: Victim,
    pub(crate) blow: Blow,
    pub(crate) measure: Measure,
    pub(crate) ground: Ground,
    /// No sample may be longer.
    pub(crate) bound: Duration,
    /// No gap of media may be longer, where that is not what is measured.
    pub(crate) gap: Duration,
    pub(crate) takes: Takes,
}

impl Row {
    /// No gap of pictures between a browser and the others may be longer.
    pub(crate) fn at_browser(&self) -> Duration {
        match self.measure {
            Measure::Gap | Measure::Through | Measure::Kept(_) | Measure::AllBack => {
                self.bound.max(AT_BROWSER)
            }
            Measure::Soaked => SOAKED_AT_BROWSER,
            _ => self.gap.max(AT_BROWSER),
        }
    }
}

/// Where nobody may notice anything a browser may do so for that long: it shares two processors with all processes and
/// participants, and decodes and draws.
const AT_BROWSER: Duration = ms(1_000);
/// What a soak breaks costs a handler, and once more where the next one breaks.
const SOAKED_AT_BROWSER: Duration = ms(10_000);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The table. A controller's death may not be seen in media at all; frames come each 33 ms, and more than two missing are one too many.
pub(crate) const ROWS: &[Row] = &[
    proxied("F1-kill", Blow::Kill),
    proxied("F1-pause", Blow::Pause),
    row(
        "F2-kill",
        Victim::Controller,
        Blow::Kill,
        Measure::Back,
        10_000,
    ),
    row(
        "F2-pause",
        Victim::Controller,
        Blow::Pause,
        Measure::Back,
        10_000,
    ),
    row(
        "F2-drain",
        Victim::Controller,
        Blow::Stop,
        Measure::Back,
        10_000,
    ),
    row("F3-kill", Victim::Handler, Blow::Kill, Measure::Gap, 5_000),
    row(
        "F3-pause",
        Victim::Handler,
        Blow::Pause,
        Measure::Gap,
        5_000,
    ),
    row("F3-drain", Victim::Handler, Blow::Stop, Measure::Gap, 5_000),
    Row {
        ground: Ground::Fronted,
        ..row(
            "F3-udp",
            Victim::Handler,
            Blow::Mute { both: true },
            Measure::Gap,
            5_000,
        )
    },
    Row {
        ground: Ground::Small,
        ..row("F3b", Victim::Handlers, Blow::Kill, Measure::Told, 5_000)
    },
    Row {
        ground: Ground::Spread,
        ..row(
            "spread-handler",
            Victim::Handler,
            Blow::Kill,
            Measure::Gap,
            5_000,
        )
    },
    Row {
        ground: Ground::Spread,
        ..row(
            "spread-owner",
            Victim::Controller,
            Blow::Kill,
            Measure::Back,
            10_000,
        )
    },
    Row {
        ground: Ground::Busy,
        ..row(
            "rebalance",
            Victim::Controllers,
            Blow::Kill,
            Measure::Evened,
            20_000,
        )
    },
    Row {
        ground: Ground::Postgres,
        ..row("F1b", Victim::Database, Blow::Kill, Measure::Known, 1_000)
    },
    Row {
        ground: Ground::Cuttable,
        ..row("F2b", Victim::Controller, Blow::Cut, Measure::Back, 10_000)
    },
    patroni("F4-node", Victim::Primary),
    patroni("F4-postgres", Victim::PrimaryServer),
    Row {
        ground: Ground::Cluster,
        ..row(
            "F5-kill",
            Victim::Master,
            Blow::Kill,
            Measure::Create,
            10_000,
        )
    },
    Row {
        ground: Ground::Cluster,
        ..row(
            "F5-pause",
            Victim::Master,
            Blow::Pause,
            Measure::Create,
            10_000,
        )
    },
    Row {
        ground: Ground::Cluster,
        ..row(
            "F5-all",
            Victim::Masters,
            Blow::Kill,
            Measure::Still(ms(20_000)),
            100,
        )
    },
    Row {
        ground: Ground::Cluster,
        takes: Takes::Long,
        ..row(
            "F5-all-real",
            Victim::Masters,
            Blow::Kill,
            Measure::Still(ms(600_000)),
            100,
        )
    },
    Row {
        ground: Ground::Relays,
        ..row(
            "F7-clients",
            Victim::Handler,
            Blow::Mute { both: false },
            Measure::Gap,
            3_000,
        )
    },
    deaf("F7-from", Blow::Mute { both: false }),
    deaf("F7-both", Blow::Mute { both: true }),
    Row {
        ground: Ground::Fronted,
        ..row(
            "F7-loss5",
            Victim::Handler,
            Blow::Lose { percent: 5 },
            Measure::Kept(ms(20_000)),
            1_000,
        )
    },
    deaf("F7-loss20", Blow::Lose { percent: 20 }),
    Row {
        ground: Ground::Cuttable,
        gap: ms(1_000),
        ..deaf("F7-control", Blow::Cut)
    },
    blip("F8-1s", 1_000),
    blip("F8-2s", 2_000),
    blip("F8-5s", 5_000),
    blip("F8-8s", 8_000),
    away("F9-12s", SCALED_TTL_S, cut_off(12), true),
    away("F9-held", SCALED_TTL_S, asleep(SCALED_TTL_S - 3), true),
    away("F9-expired", SCALED_TTL_S, asleep(SCALED_TTL_S + 3), false),
    Row {
        takes: Takes::Long,
        ..away("F9-60s", TTL_S, cut_off(60), true)
    },
    Row {
        takes: Takes::Long,
        ..away("F9-real-held", TTL_S, cut_off(290), true)
    },
    Row {
        takes: Takes::Long,
        ..away("F9-real-expired", TTL_S, asleep(310), false)
    },
    rolled("F11-forward", false),
    rolled("F11-back", true),
    rebound("F10-port", false),
    rebound("F10-address", true),
    Row {
        // Hundreds who make keys anew share the processors with the pictures.
        gap: ms(1_000),
        ..row(
            "F12",
            Victim::Controller,
            Blow::Kill,
            Measure::AllBack,
            10_000,
        )
    },
    Row {
        ground: Ground::Proxied,
        takes: Takes::Long,
        ..row("F15", Victim::Each, Blow::Kill, Measure::Soaked, 10_000)
    },
];

/// A seat is held for so long; and so long where nobody wants to wait for that.
const TTL_S: u64 = 300;
const SCALED_TTL_S: u64 = 20;

const fn cut_off(seconds: u64) -> Blow {
    Blow::Outage(ms(seconds * 1000))
}

const fn asleep(seconds: u64) -> Blow {
    Blow::Sleep(ms(seconds * 1000))
}

const fn away(name: &'static str, ttl_s: u64, gone: Blow, held: bool) -> Row {
    Row {
        ground: Ground::Seats(ttl_s),
        ..row(
            name,
            Victim::Participant,
            gone,
            Measure::Seat { held },
            10_000,
        )
    }
}

const fn rebound(name: &'static str, moved: bool) -> Row {
    Row {
        ground: Ground::Relays,
        ..row(
            name,
            Victim::Paths,
            Blow::Rebind { moved },
            Measure::Through,
            3_000,
        )
    }
}

const fn rolled(name: &'static str, back: bool) -> Row {
    Row {
        ground: Ground::Proxied,
        takes: Takes::Previous,
        ..row(
            name,
            Victim::Release,
            Blow::Stop,
            Measure::Rolled { back },
            1_000,
        )
    }
}

const fn deaf(name: &'static str, blow: Blow) -> Row {
    Row {
        ground: Ground::Fronted,
        gap: ms(5_000),
        ..row(name, Victim::Handler, blow, Measure::Avoided, 3_000)
    }
}

const fn proxied(name: &'static str, blow: Blow) -> Row {
    Row {
        ground: Ground::Proxied,
        ..row(name, Victim::Global, blow, Measure::Lookup, 30_000)
    }
}

const fn patroni(name: &'static str, victim: Victim) -> Row {
    Row {
        ground: Ground::Patroni,
        ..row(name, victim, Blow::Kill, Measure::Written, 60_000)
    }
}

const fn blip(name: &'static str, outage_ms: u64) -> Row {
    Row {
        ground: Ground::Relays,
        ..row(
            name,
            Victim::Paths,
            Blow::Outage(ms(outage_ms)),
            Measure::Through,
            outage_ms + 1_000,
        )
    }
}

const fn row(
    name: &'static str,
    victim: Victim,
    blow: Blow,
    measure: Measure,
    bound_ms: u64,
) -> Row {
    Row {
        name,
        victim,
        blow,
        measure,
        bound: ms(bound_ms),
        gap: ms(100),
        ground: Ground::Plain,
        takes: Takes::Little,
    }
}
