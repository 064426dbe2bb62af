//! Two PostgreSQLs of which Patroni makes one the primary, agreed upon in etcd, behind HAProxy.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::aside::aside;
use crate::postgres::{PASSWORD, USER, client, url};
use crate::process::{
    Process, command, directory, eventually, file, give, postgres, program, run, within,
};
use crate::{HaProxy, Port};

const MEMBERS: usize = 2;

/// What a primary that is gone is followed within, and gone members come back within.
const FAILOVER_WITHIN: Duration = Duration::from_secs(60);

/// How often it is looked for that: each look is a process, which what is measured meanwhile would feel.
const LOOK: Duration = Duration::from_millis(250);

/// Debian's own, which its Patroni runs on too; there may be another in the search path.
const PYTHON: &str = "/usr/bin/python3";

/// What holds for both. Its times are the shortest that Patroni takes: a primary that is silent is none any more after
/// 20 s. A write is acknowledged when the other one has it too, and only that may follow as primary; where there is no
/// other, one goes on alone.
const OF_BOTH: &str = "
    ttl: 20
    loop_wait: 2
    retry_timeout: 5
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      parameters:
        shared_buffers: 16MB
";

/// A PostgreSQL that outlives its primary.
#[derive(Debug)]
pub struct Patroni {
    // The door closes first, and the members do not outlive what they agree in.
    door: HaProxy,
    members: Vec<Member>,
    _etcd: Etcd,
    /// Databases made so far.
    made: AtomicU32,
}

#[derive(Debug)]
struct Etcd {
    _directory: TempDir,
    door: Port,
    _peer: Port,
    _process: Process,
}

/// One PostgreSQL and the Patroni that starts and watches it, as on a machine of their own.
#[derive(Debug)]
struct Member {
    directory: TempDir,
    port: Port,
    /// Where Patroni says what it is.
    says: Port,
    process: Option<Process>,
}

impl Etcd {
    fn start() -> Self {
        const ETCD: &str = "etcd";
        let directory = directory();
        let place = directory.path();
        let (door, peer) = (Port::take(), Port::take());
        let at = |port: &Port| format!("http://127.0.0.1:{}", port.number());
        give(place, ETCD);
        let mut etcd = command(ETCD, Some(ETCD), "KILL");
        etcd.args(["--name", "one", "--data-dir"])
            .arg(place.join("data"))
            .args(["--listen-client-urls", &at(&door)])
            .args(["--advertise-client-urls", &at(&door)])
            .args(["--listen-peer-urls", &at(&peer)])
            .args(["--initial-advertise-peer-urls", &at(&peer)])
            .args(["--initial-cluster", &format!("one={}", at(&peer))]);
        let ready = "ready to serve client requests";
        let process = Process::start(etcd, &place.join("log"), ready, Signal::KILL);
        Self {
            _directory: directory,
            door,
            _peer: peer,
            _process: process,
        }
    }
}

impl Member {
    fn start(number: usize, etcd: &Etcd) -> Self {
        let directory = directory();
        let place = directory.path().display().to_string();
        let (port, says) = (Port::take(), Port::take());
        let bin = postgres().expect("`postgresql` is not installed: `make setup` does that");
        let (here, there) = (port.number(), says.number());
        let login = format!("{{username: {USER}, password: {PASSWORD}}}");
        let settings = format!(
            "scope: tower\nname: m{number}\netcd3: {{host: '127.0.0.1:{etcd}'}}\n\
             restapi: {{listen: '127.0.0.1:{there}', connect_address: '127.0.0.1:{there}'}}\n\
             bootstrap:\n  dcs:{OF_BOTH}\
             \x20 initdb: [no-sync, wal-segsize: '1', encoding: UTF8, locale: C.UTF-8]\n\
             postgresql:\n  listen: 127.0.0.1:{here}\n  connect_address: 127.0.0.1:{here}\n\
             \x20 data_dir: {place}/data\n  bin_dir: {bin}\n  pgpass: {place}/pgpass\n\
             \x20 remove_data_directory_on_rewind_failure: true\n\
             \x20 authentication:\n    superuser: {login}\n    replication: {login}\n\
             \x20 pg_hba:\n  - host all all 127.0.0.1/32 scram-sha-256\n\
             \x20 - host replication all 127.0.0.1/32 scram-sha-256\n\
             \x20 parameters:\n    unix_socket_directories: ''\n\
             \x20   # The processes are killed here, never the machine.\n    fsync: 'off'\n",
            etcd = etcd.door.number(),
            bin = bin.display(),
        );
        file(directory.path().join("patroni.yml"), &settings);
        file(
            directory.path().join("machine.py"),
            include_str!("machine.py"),
        );
        give(directory.path(), USER);
        let mut member = Self {
            directory,
            port,
            says,
            process: None,
        };
        member.start_again();
        member
    }

    fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let place = self.directory.path();
        // PostgreSQL is nobody's child for long, so that it outlives its Patroni: but not its machine.
        let mut machine = command(PYTHON, Some(USER), "TERM");
        machine
            .arg(place.join("machine.py"))
            .arg(program("patroni"));
        machine.arg(place.join("patroni.yml"));
        let log = place.join("log");
        self.process = Some(Process::start(aside(machine), &log, "INFO: ", Signal::TERM));
    }

    /// What it told since it was there.
    fn text(&self) -> String {
        let log = self.directory.path().join("log");
        std::fs::read_to_string(log).unwrap_or_default()
    }

    /// Whether its Patroni says so: `primary` and `sync` are asked for here.
    fn is(&self, what: &str) -> bool {
        let asked = || -> std::io::Result<String> {
            let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.says.number()))?;
            socket.set_read_timeout(Some(Duration::from_secs(2)))?;
            write!(socket, "GET /{what} HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            Ok(answer)
        };
        // One that is gone is nothing.
        asked().is_ok_and(|answer| answer.split(' ').nth(1) == Some("200"))
    }

    fn kill_postgres(&self) {
        let file = self.directory.path().join("data/postmaster.pid");
        let text = std::fs::read_to_string(file).expect("it runs");
        let pid = text.lines().next().and_then(|pid| pid.parse().ok());
        let pid = pid.and_then(Pid::from_raw).expect("a process id");
        // Those that it started end with it.
        kill_process(pid, Signal::KILL).expect("it runs");
    }

    fn kill(&mut self) {
        self.process.take().expect("it runs").end(Signal::TERM);
    }
}

impl Patroni {
    /// Two members, one following the other, and a way to the primary.
    pub fn start() -> Self {
        let etcd = Etcd::start();
        let first = Member::start(0, &etcd);
        eventually(|| first.is("primary"), || first.text());
        let mut members = vec![first];
        members.extend((1..MEMBERS).map(|number| Member::start(number, &etcd)));
        let ports: Vec<_> = members
            .iter()
            .map(|member| [member.port.number(), member.says.number()])
            .collect();
        let patroni = Self {
            door: HaProxy::before_primary(&ports),
            members,
            _etcd: etcd,
            made: AtomicU32::new(0),
        };
        patroni.wait();
        patroni
    }

    /// Waits until a primary takes writes and another member has everything that was acknowledged.
    pub fn wait(&self) {
        self.reach(|| self.who("sync").is_some() && self.takes_writes());
    }

    /// Waits until a primary takes writes.
    pub fn wait_for_primary(&self) {
        self.reach(|| self.takes_writes());
    }

    fn reach(&self, reached: impl FnMut() -> bool) {
        let texts = || {
            let texts: Vec<_> = self.members.iter().map(Member::text).collect();
            texts.join("\n\n")
        };
        within(FAILOVER_WITHIN, LOOK, reached, texts);
    }

    fn takes_writes(&self) -> bool {
        let asked = client(&self.url("postgres"), "SELECT pg_is_in_recovery()").output();
        asked.expect("psql starts").stdout == *b"f\n"
    }

    fn who(&self, what: &str) -> Option<usize> {
        self.members.iter().position(|member| member.is(what))
    }

    /// The member that is primary, as the members say.
    pub fn primary(&self) -> Option<usize> {
        self.who("primary")
    }

    /// A fresh database: its name.
    pub fn database(&self) -> String {
        let name = format!("tower{}", self.made.fetch_add(1, Ordering::Relaxed));
        self.ask("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// Where a database of the primary is, whoever that is: password included.
    pub fn url(&self, database: &str) -> String {
        url(self.door.port(), database)
    }

    /// What the primary answers to SQL: lines of values with `|` between.
    pub fn ask(&self, database: &str, sql: &str) -> String {
        run(client(&self.url(database), sql))
    }

    /// Ends a member's PostgreSQL without a word; its Patroni starts it again.
    pub fn kill_postgres(&self, member: usize) {
        self.members[member].kill_postgres();
    }

    /// Ends a member's Patroni and PostgreSQL without a word.
    pub fn kill(&mut self, member: usize) {
        self.members[member].kill();
    }

    /// Starts it after it was killed, with what it had; it follows whoever is primary then.
    pub fn start_again(&mut self, member: usize) {
        self.members[member].start_again();
    }
}
