//! What stands before the services, and the database behind such.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use darktower_servers::{HaProxy, Patroni, Port};

use crate::askers::Asker;

/// HAProxy before global controllers, which come back where they were.
pub(crate) struct Front {
    proxy: HaProxy,
    ports: Vec<Port>,
}

impl Front {
    /// For so many.
    pub(crate) fn start(globals: usize) -> Self {
        let ports: Vec<_> = (0..globals).map(|_| Port::take()).collect();
        let places: Vec<_> = ports.iter().map(place).collect();
        Self {
            proxy: HaProxy::before_http(&places, "/api/v1/health"),
            ports,
        }
    }

    /// Where the participants ask.
    pub(crate) fn api(&self) -> String {
        format!("http://127.0.0.1:{}", self.proxy.port())
    }

    /// A place at which none of `taken` is.
    pub(crate) fn free(&self, taken: impl Iterator<Item = SocketAddr>) -> Option<SocketAddr> {
        let taken: BTreeSet<_> = taken.collect();
        self.ports
            .iter()
            .map(place)
            .find(|place| !taken.contains(place))
    }
}

fn place(port: &Port) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()))
}

/// Two PostgreSQLs under Patroni with the database of all.
pub(crate) struct Servers {
    patroni: Patroni,
    database: String,
}

impl Servers {
    pub(crate) fn start() -> Self {
        let patroni = Patroni::start();
        let database = patroni.database();
        Self { patroni, database }
    }

    /// Where the primary is.
    pub(crate) fn url(&self) -> String {
        self.patroni.url(&self.database)
    }

    /// Kills what is primary, its Patroni too where it is the whole machine: which member that was.
    pub(crate) fn kill_primary(&mut self, is_machine: bool) -> Option<usize> {
        let primary = self.patroni.primary()?;
        match is_machine {
            true => self.patroni.kill(primary),
            false => self.patroni.kill_postgres(primary),
        }
        Some(primary)
    }

    /// Both are there again.
    pub(crate) fn mend(&mut self, member: usize, is_machine: bool) {
        if is_machine {
            self.patroni.start_again(member);
        }
        self.patroni.wait();
    }

    /// The meetings that somebody was told are created and of which the primary knows nothing.
    pub(crate) fn lost(&self, askers: &[Asker]) -> Vec<String> {
        // They go on meanwhile: what they are told later is not asked for.
        let told: Vec<_> = askers.iter().flat_map(Asker::codes).collect();
        let sql = "SELECT code FROM meetings";
        let known = self.patroni.ask(&self.database, sql);
        let known: BTreeSet<&str> = known.lines().collect();
        let told = told.into_iter();
        told.filter(|code| !known.contains(code.as_str())).collect()
    }
}
