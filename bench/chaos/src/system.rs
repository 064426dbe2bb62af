//! The processes: a state store, two global controllers, three meeting controllers, three media handlers.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use darktower_cluster_tests::{Process, address};
use darktower_link::Loss;
use darktower_link::relay::{Config, Relay};
use darktower_servers::{Port, Postgres, Redis, RedisCluster};
use tempfile::TempDir;
use tokio::task::block_in_place;
use tokio::time::sleep;

use darktower_client::Via;

use crate::crowd::Meeting;
use crate::front::{Front, Servers};
use crate::owners::Owners;
use crate::rows::{Blow, Ground, Victim};

const ANY: &str = "127.0.0.1:0";
/// Where the nodes are in the state store.
const REGISTRY: &str = "darktower:{nodes}";
const UNLIMITED: &str = "1000000";
const GLOBALS: usize = 2;
const CONTROLLERS: usize = 3;
const HANDLERS: usize = 3;
/// Between two steps of a rolling update: a load balancer has noticed the one before.
const SETTLES: Duration = Duration::from_secs(2);

/// One process and where participants reach it.
pub(crate) struct Node {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    /// The way from the participants to it, where that is a relay; and what it is cut off by: the way from it to the state
    /// store, or from controllers to it.
    wire: Option<Relay>,
    tie: Option<Relay>,
    /// Where calls come in, where that is not just anywhere.
    _calls: Option<Port>,
    gate: Option<Gate>,
}

impl Node {
    /// Datagrams that leave it are lost, `both`: those to it, too. Those of all, where it has a gate, else those of
    /// participants.
    fn mute(&self, mute: bool, both: bool) -> anyhow::Result<()> {
        let gate = self.gate.as_ref().map(|gate| &gate.relay);
        let relay = gate.or(self.wire.as_ref());
        let relay = relay.context("nothing is before it")?;
        let (mut to, mut from) = relay.conditions()?;
        to.blackout = mute && both;
        from.blackout = mute;
        Ok(relay.set(to, from)?)
    }
}

/// What stands before a handler for all who send it datagrams.
struct Gate {
    relay: Relay,
    /// Where the handler itself listens.
    inner: SocketAddr,
    _port: Port,
}

impl Gate {
    fn start() -> anyhow::Result<Self> {
        let port = Port::take();
        let inner = SocketAddr::from(([127, 0, 0, 1], port.number()));
        Ok(Self {
            relay: Relay::start(Config::new(inner))?,
            inner,
            _port: port,
        })
    }

    /// So many of a hundred are lost each way.
    fn lose(&self, percent: u32) -> anyhow::Result<()> {
        let (mut to, mut from) = self.relay.conditions()?;
        let loss = match percent {
            0 => Loss::None,
            percent => Loss::Random(f64::from(percent) / 100.0),
        };
        (to.loss, from.loss) = (loss, loss);
        Ok(self.relay.set(to, from)?)
    }
}

enum State {
    One(Redis),
    Cluster(RedisCluster),
}

/// All of them.
pub(crate) struct System {
    directory: TempDir,
    ground: Ground,
    participants: usize,
    /// How many addresses participants have come from, beside the first.
    addresses: u32,
    /// What is started, where that is not the program of this release.
    program: Option<PathBuf>,
    state: State,
    postgres: Option<Postgres>,
    pub(crate) servers: Option<Servers>,
    front: Option<Front>,
    /// Where the database is, if it is a server.
    database: Option<String>,
    pub(crate) globals: Vec<Node>,
    pub(crate) controllers: Vec<Node>,
    pub(crate) handlers: Vec<Node>,
}

impl System {
    /// Starts all for so many participants, which know one another by certificates on gRPC, and waits until they are
    /// ready.
    pub(crate) fn start(
        ground: Ground,
        program: Option<PathBuf>,
        participants: usize,
    ) -> anyhow::Result<Self> {
        let postgres = (ground == Ground::Postgres).then(Postgres::start);
        let servers = (ground == Ground::Patroni).then(Servers::start);
        let database = postgres
            .as_ref()
            .map(|server| server.url(&server.database()))
            .or_else(|| servers.as_ref().map(Servers::url));
        let mut system = Self {
            directory: TempDir::new().context("a directory")?,
            ground,
            participants,
            addresses: 0,
            program,
            state: match ground {
                Ground::Cluster => State::Cluster(RedisCluster::start(1)),
                _ => State::One(Redis::start()),
            },
            postgres,
            servers,
            front: (ground == Ground::Proxied).then(|| Front::start(GLOBALS)),
            database,
            globals: Vec::new(),
            controllers: Vec::new(),
            handlers: Vec::new(),
        };
        if let Some(database) = &system.database {
            let settings = [("DARKTOWER_DATABASE__URL", database.as_str())];
            let mut process = system.process("migrate", &settings);
            anyhow::ensure!(process.exit().success(), "the schema cannot be made");
        }
        system.fill()?;
        Ok(system)
    }

    /// The processes of a kind, the oldest first.
    pub(crate) fn nodes(&self, victim: Victim) -> &[Node] {
        match victim {
            Victim::Controller => &self.controllers,
            Victim::Handler => &self.handlers,
            _ => &self.globals,
        }
    }

    /// Starts what is missing.
    pub(crate) fn fill(&mut self) -> anyhow::Result<()> {
        while self.globals.len() < GLOBALS {
            let node = self.spawn("global", "http")?;
            self.globals.push(node);
        }
        while self.controllers.len() < CONTROLLERS {
            let node = self.spawn("meeting", "signal")?;
            self.controllers.push(node);
        }
        while self.handlers.len() < HANDLERS {
            let node = self.spawn("media", "media")?;
            self.handlers.push(node);
        }
        Ok(())
    }

    /// All meeting controllers but the oldest are gone, until [`Self::fill`].
    pub(crate) fn only_one_controller(&mut self) {
        for mut away in self.controllers.drain(1..) {
            away.process.kill();
            away.process.exit();
        }
    }

    fn process(&self, role: &str, settings: &[(&str, &str)]) -> Process {
        let place = self.directory.path();
        match &self.program {
            Some(program) => Process::start_as(&[program.as_os_str()], &[role], place, settings),
            None => Process::start(&[role], place, settings),
        }
    }

    /// Replaces all by processes of `program`, one after the other, as a rolling update does: a handler or a controller
    /// comes before one goes, a global controller after it.
    pub(crate) async fn roll(&mut self, program: Option<PathBuf>) -> anyhow::Result<()> {
        self.program = program;
        for _ in 0..HANDLERS {
            let new = block_in_place(|| self.spawn("media", "media"))?;
            self.handlers.push(new);
            stop(self.handlers.remove(0)).await?;
        }
        for _ in 0..CONTROLLERS {
            let new = block_in_place(|| self.spawn("meeting", "signal"))?;
            self.controllers.push(new);
            stop(self.controllers.remove(0)).await?;
        }
        for _ in 0..GLOBALS {
            stop(self.globals.remove(0)).await?;
            block_in_place(|| self.fill())?;
            sleep(SETTLES).await;
        }
        Ok(())
    }

    fn spawn(&self, role: &str, door: &str) -> anyhow::Result<Node> {
        let mut url = match &self.state {
            State::One(redis) => redis.url(),
            State::Cluster(cluster) => cluster.url(),
        };
        let mut tie = None;
        if let (State::One(redis), Ground::Cuttable, "meeting") = (&self.state, self.ground, role) {
            let to = SocketAddr::from(([127, 0, 0, 1], redis.port()));
            let relay = Relay::start(Config::new(to))?;
            url = format!("redis://{}", relay.addr());
            tie = Some(relay);
        }
        let taken = self.globals.iter().map(|node| node.addr);
        let place = self.front.as_ref().filter(|_| role == "global");
        let place = place.and_then(|front| front.free(taken));
        let http = place.map_or(ANY.to_owned(), |place| place.to_string());
        let mut settings = vec![
            ("DARKTOWER_STATE__URL", url),
            ("DARKTOWER_CLUSTER__DEVELOPMENT", "true".to_owned()),
            ("DARKTOWER_GLOBAL__HTTP", http),
            ("DARKTOWER_GLOBAL__HTTPS", ANY.to_owned()),
            // Everybody comes from one address here.
            ("DARKTOWER_GLOBAL__LOOKUPS_PER_SECOND", UNLIMITED.to_owned()),
            ("DARKTOWER_GLOBAL__LOOKUP_BURST", UNLIMITED.to_owned()),
            (
                "DARKTOWER_GLOBAL__CREATIONS_PER_SECOND",
                UNLIMITED.to_owned(),
            ),
            ("DARKTOWER_GLOBAL__CREATION_BURST", UNLIMITED.to_owned()),
        ];
        if let Ground::Seats(seconds) = self.ground {
            settings.push(("DARKTOWER_MEETING__SEAT_TTL", format!("{seconds}s")));
        }
        if self.ground == Ground::Spread {
            settings.push(("DARKTOWER_MEETING__HANDLER_SHARE", "2".to_owned()));
        }
        if self.ground == Ground::Busy {
            let capacity = crate::uneven::capacity(self.participants);
            settings.push(("DARKTOWER_MEETING__CAPACITY", capacity.to_string()));
        }
        if self.ground == Ground::Small {
            let capacity = crate::crowded::capacity(self.participants);
            settings.push(("DARKTOWER_MEDIA__CAPACITY", capacity.to_string()));
        }
        let is_fronted = self.ground == Ground::Fronted && role == "media";
        let gate = is_fronted.then(Gate::start).transpose()?;
        if let Some(database) = &self.database {
            settings.push(("DARKTOWER_DATABASE__URL", database.clone()));
        }
        settings.push(("DARKTOWER_MEETING__LISTEN", ANY.to_owned()));
        let calls = (self.ground == Ground::Cuttable && role == "media").then(Port::take);
        if let Some(port) = &calls {
            let to = SocketAddr::from(([127, 0, 0, 1], port.number()));
            let relay = Relay::start(Config::new(to))?;
            settings.push(("DARKTOWER_MEDIA__GRPC_LISTEN", to.to_string()));
            let url = format!("https://{}", relay.addr());
            settings.push(("DARKTOWER_MEDIA__GRPC_URL", url));
            tie = Some(relay);
        }
        let listen = gate
            .as_ref()
            .map_or(ANY.to_owned(), |it| it.inner.to_string());
        settings.push(("DARKTOWER_MEDIA__LISTEN", listen));
        if let Some(gate) = &gate {
            let url = format!("https://{}/v1/media", gate.relay.addr());
            settings.push(("DARKTOWER_MEDIA__PUBLIC_URL", url));
        }
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let mut process = self.process(role, &settings);
        let ready = process.ready();
        let addr = match &gate {
            Some(gate) => gate.relay.addr(),
            None => address(&ready, door),
        };
        // The services reach one another past it: it is the participants' network that fails.
        let wire = match self.ground == Ground::Relays && role != "global" {
            true => Some(Relay::start(Config::new(addr))?),
            false => None,
        };
        Ok(Node {
            process,
            addr,
            wire,
            tie,
            _calls: calls,
            gate,
        })
    }

    /// Where the API is.
    pub(crate) fn api(&self) -> String {
        let first = || format!("http://{}", self.globals[0].addr);
        self.front.as_ref().map_or_else(first, Front::api)
    }

    /// All places where it is.
    pub(crate) fn apis(&self) -> Vec<String> {
        let globals = self.globals.iter();
        globals
            .map(|node| format!("http://{}", node.addr))
            .collect()
    }

    /// The ways of participants to those that they reach through a relay.
    pub(crate) fn ways(&self) -> Via {
        let nodes = self.controllers.iter().chain(&self.handlers);
        let relayed = nodes.filter_map(|node| Some((node.addr, node.wire.as_ref()?.addr())));
        Via::Relays(relayed.collect())
    }

    fn wires(&self) -> impl Iterator<Item = &Relay> {
        let nodes = self.controllers.iter().chain(&self.handlers);
        nodes.filter_map(|node| node.wire.as_ref())
    }

    /// Does it, to the one that participants reach at `addr` where it is one of several.
    pub(crate) async fn strike(
        &mut self,
        victim: Victim,
        blow: Blow,
        addr: Option<SocketAddr>,
    ) -> anyhow::Result<Struck> {
        let nodes = match victim {
            Victim::Controller => &mut self.controllers,
            Victim::Handler => &mut self.handlers,
            Victim::Global => &mut self.globals,
            Victim::Database => {
                let postgres = self.postgres.as_mut().context("there is no PostgreSQL")?;
                postgres.kill();
                return Ok(Struck::Database);
            }
            Victim::Primary | Victim::PrimaryServer => {
                let servers = self.servers.as_mut().context("there is no Patroni")?;
                let is_machine = victim == Victim::Primary;
                let member = servers.kill_primary(is_machine);
                let member = member.context("nobody is primary")?;
                return Ok(Struck::Primary { member, is_machine });
            }
            Victim::Master | Victim::Masters => return self.strike_state(victim, blow),
            Victim::Participant
            | Victim::Release
            | Victim::Each
            | Victim::Controllers
            | Victim::Handlers => {
                anyhow::bail!("that is played elsewhere")
            }
            Victim::Paths => {
                match blow {
                    Blow::Outage(outage) => {
                        self.wires().try_for_each(|wire| wire.blackout(true))?;
                        sleep(outage).await;
                        self.wires().try_for_each(|wire| wire.blackout(false))?;
                    }
                    Blow::Rebind { moved: false } => self.wires().try_for_each(Relay::rebind)?,
                    Blow::Rebind { moved: true } => {
                        self.addresses += 1;
                        let address =
                            Ipv4Addr::from(Ipv4Addr::LOCALHOST.to_bits() + self.addresses);
                        self.wires()
                            .try_for_each(|wire| wire.rebind_to(address.into()))?;
                    }
                    _ => anyhow::bail!("that is not done to a path"),
                }
                return Ok(Struck::Paths);
            }
        };
        let at = nodes.iter().position(|node| Some(node.addr) == addr);
        let at = at.with_context(|| format!("nobody listens at {addr:?}"))?;
        let node = nodes.remove(at);
        match blow {
            Blow::Kill => node.process.kill(),
            Blow::Pause => node.process.pause(),
            Blow::Stop => node.process.terminate(),
            Blow::Cut => {
                let tie = node.tie.as_ref().context("it cannot be cut off")?;
                tie.blackout(true)?;
            }
            Blow::Mute { both } => {
                node.mute(true, both)?;
            }
            Blow::Lose { percent } => {
                let gate = node.gate.as_ref().context("nothing is before it")?;
                gate.lose(percent)?;
            }
            Blow::Outage(_) | Blow::Rebind { .. } | Blow::Sleep(_) => {
                anyhow::bail!("that is not done to a node")
            }
        }
        let node = Box::new(node);
        Ok(Struck::Node { victim, blow, node })
    }

    fn strike_state(&mut self, victim: Victim, blow: Blow) -> anyhow::Result<Struck> {
        let State::Cluster(cluster) = &mut self.state else {
            anyhow::bail!("there is no cluster");
        };
        let mut masters = vec![cluster.master_of(REGISTRY)];
        if victim == Victim::Masters {
            masters = ["a", "b", "c", "d", "e", "f", "g", "h"]
                .map(|key| cluster.master_of(key))
                .into();
            masters.sort_unstable();
            masters.dedup();
        }
        for &master in &masters {
            match blow {
                Blow::Pause => cluster.node(master).pause(),
                _ => cluster.node(master).kill(),
            }
        }
        Ok(Struck::State { masters, blow })
    }

    /// Whether the state of this meeting is on the master that the registry of nodes is on.
    pub(crate) fn is_beside_the_registry(&self, meeting: &str) -> anyhow::Result<bool> {
        let State::Cluster(cluster) = &self.state else {
            anyhow::bail!("there is no cluster");
        };
        let key = format!("darktower:{{m:{meeting}}}");
        Ok(block_in_place(|| {
            cluster.master_of(&key) == cluster.master_of(REGISTRY)
        }))
    }

    /// Looks from now on who owns these meetings.
    pub(crate) fn watch_owners(&self, meetings: &[&Meeting]) -> anyhow::Result<Vec<Owners>> {
        let State::One(redis) = &self.state else {
            anyhow::bail!("there is no one Redis");
        };
        let meetings = meetings.iter();
        meetings
            .map(|meeting| Owners::watch(redis.port(), &meeting.id))
            .collect()
    }

    /// Waits until the controller at `addr` has said of so many meetings that they are another's.
    pub(crate) fn has_stepped_down(
        &mut self,
        addr: Option<SocketAddr>,
        meetings: usize,
    ) -> anyhow::Result<()> {
        let mut all = self.controllers.iter_mut();
        let node = all.find(|node| Some(node.addr) == addr);
        let node = node.context("it is gone")?;
        for _ in 0..meetings {
            block_in_place(|| {
                node.process.log(|line| {
                    line["message"] == "meeting closed here" && line["metadata"]["over"] == "Lost"
                })
            });
        }
        Ok(())
    }

    /// A paused one goes on, one that ended is replaced.
    pub(crate) fn mend(&mut self, struck: Struck) -> anyhow::Result<()> {
        match struck {
            Struck::Node {
                victim,
                blow,
                mut node,
            } => {
                let nodes = match victim {
                    Victim::Controller => &mut self.controllers,
                    Victim::Handler => &mut self.handlers,
                    _ => &mut self.globals,
                };
                match blow {
                    Blow::Pause => {
                        node.process.wake();
                        nodes.push(*node);
                    }
                    Blow::Cut => {
                        let tie = node.tie.as_ref().context("it was not cut off")?;
                        tie.blackout(false)?;
                        nodes.push(*node);
                    }
                    Blow::Mute { both } => {
                        node.mute(false, both)?;
                        nodes.push(*node);
                    }
                    Blow::Lose { .. } => {
                        let gate = node.gate.as_ref().context("nothing is before it")?;
                        gate.lose(0)?;
                        nodes.push(*node);
                    }
                    _ => {
                        let exit = node.process.exit();
                        anyhow::ensure!(
                            blow == Blow::Kill || exit.success(),
                            "it did not end in order: {exit}"
                        );
                    }
                }
            }
            Struck::Database => {
                let postgres = self.postgres.as_mut().context("there is no PostgreSQL")?;
                postgres.start_again();
            }
            Struck::Primary { member, is_machine } => {
                let servers = self.servers.as_mut().context("there is no Patroni")?;
                servers.mend(member, is_machine);
            }
            Struck::State { masters, blow } => {
                if let State::Cluster(cluster) = &mut self.state {
                    for master in masters {
                        match blow {
                            Blow::Pause => cluster.node(master).resume(),
                            _ => cluster.node(master).start_again(),
                        }
                    }
                    cluster.wait();
                }
            }
            Struck::Paths => {}
        }
        self.fill()
    }
}

/// Stops one in order, when those that came meanwhile are known to all.
async fn stop(mut node: Node) -> anyhow::Result<()> {
    sleep(SETTLES).await;
    node.process.terminate();
    let exit = block_in_place(|| node.process.exit());
    anyhow::ensure!(exit.success(), "it did not end in order: {exit}");
    Ok(())
}

/// What something was done to.
pub(crate) enum Struck {
    Node {
        victim: Victim,
        blow: Blow,
        node: Box<Node>,
    },
    Database,
    Primary {
        member: usize,
        is_machine: bool,
    },
    State {
        masters: Vec<usize>,
        blow: Blow,
    },
    Paths,
}
