//! PostgreSQL, and PgBouncer before it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::aside::aside;
use crate::process::{Process, command, directory, file, give, run};
use crate::{Authority, Port};

/// Who runs both servers where the test is run by root, and whom the databases belong to.
pub(crate) const USER: &str = "postgres";

/// What [`USER`] shows to both servers.
pub(crate) const PASSWORD: &str = "of-the-test";

/// A PostgreSQL with an empty cluster of its own.
#[derive(Debug)]
pub struct Postgres {
    directory: TempDir,
    port: Port,
    more: Vec<String>,
    process: Option<Process>,
    /// Databases made so far.
    made: AtomicU32,
}

impl Postgres {
    /// One that asks for a password.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// One that takes connections by TLS alone, with a certificate that `authority` vouches for.
    pub fn start_with(authority: Option<&Authority>) -> Self {
        let directory = directory();
        let place = directory.path();
        let password = file(place.join("password"), PASSWORD);
        let mut more = Vec::new();
        if let Some(authority) = authority {
            let [chain, key, _] = authority.issue(place);
            std::fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("it is ours");
            for (name, path) in [("ssl_cert_file", chain), ("ssl_key_file", key)] {
                more.push(format!("{name}={}", path.display()));
            }
            more.push("ssl=on".to_owned());
        }
        give(place, USER);
        let mut init = command("initdb", Some(USER), "KILL");
        init.args(["--no-sync", "--no-instructions", "--wal-segsize=1"])
            .arg("--auth=scram-sha-256")
            .args(["--encoding=UTF8", "--locale=C.UTF-8", "--username", USER])
            .arg(format!("--pwfile={}", password.display()))
            .arg(place.join("data"));
        run(init);
        if authority.is_some() {
            let rule = "hostssl all all 127.0.0.1/32 scram-sha-256\n";
            let rules = file(place.join("rules"), rule);
            give(&rules, USER);
            more.push(format!("hba_file={}", rules.display()));
        }
        let mut postgres = Self {
            directory,
            port: Port::take(),
            more,
            process: None,
            made: AtomicU32::new(0),
        };
        postgres.start_again();
        postgres
    }

    /// One that follows this one and answers what is only read.
    pub fn standby(&self) -> Self {
        let directory = directory();
        let place = directory.path();
        give(place, USER);
        let mut copy = command("pg_basebackup", Some(USER), "KILL");
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
            .args(["--dbname", &self.url("postgres"), "--pgdata"])
            .arg(place.join("data"));
        run(copy);
        let mut standby = Self {
            directory,
            port: Port::take(),
            more: Vec::new(),
            process: None,
            made: AtomicU32::new(0),
        };
        standby.start_again();
        standby
    }

    /// Starts it after it was killed, on the same port, with what it had acknowledged.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let mut server = command("postgres", Some(USER), "QUIT");
        server.arg("-D").arg(self.directory.path().join("data"));
        let usual = [
            format!("port={}", self.port()),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "shared_buffers=16MB".to_owned(),
            // The processes are killed here, never the machine.
            "fsync=off".to_owned(),
        ];
        for setting in usual.iter().chain(&self.more) {
            server.args(["-c", setting]);
        }
        let log = self.directory.path().join("log");
        // A standby says "read-only connections".
        let ready = "ready to accept ";
        self.process = Some(Process::start(aside(server), &log, ready, Signal::QUIT));
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").end(Signal::QUIT);
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// A fresh database: its name.
    pub fn database(&self) -> String {
        let name = format!("tower{}", self.made.fetch_add(1, Ordering::Relaxed));
        self.ask("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// Where a database is, password included.
    pub fn url(&self, database: &str) -> String {
        url(self.port(), database)
    }

    /// What it answers to SQL: lines of values with `|` between.
    pub fn ask(&self, database: &str, sql: &str) -> String {
        run(client(&self.url(database), sql))
    }

    /// SQL that goes on while other things happen; it ends with the server or when it is dropped.
    pub fn session(&self, database: &str, sql: &str) -> Session {
        let mut client = client(&self.url(database), sql);
        let child = client.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Session(child.expect("it starts"))
    }
}

/// Where a server or what stands before it offers a database, password included.
pub(crate) fn url(port: u16, database: &str) -> String {
    format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/{database}")
}

/// What asks the database at `url`.
pub(crate) fn client(url: &str, sql: &str) -> Command {
    let mut client = Command::new("psql");
    client
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
        .args(["--set", "ON_ERROR_STOP=1", "--dbname", url])
        .args(["--command", sql])
        .stdin(Stdio::null());
    client
}

/// A client of a [`Postgres`] that is still at it.
#[derive(Debug)]
pub struct Session(Child);

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended with the server.
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

/// A PgBouncer that gives out connections for one transaction each.
#[derive(Debug)]
pub struct PgBouncer {
    _directory: TempDir,
    port: Port,
    _process: Process,
}

impl PgBouncer {
    /// One with two connections to `server`, so that clients meet on them.
    pub fn start(server: &Postgres) -> Self {
        let directory = directory();
        let place = directory.path();
        let port = Port::take();
        let users = file(place.join("users"), &format!("\"{USER}\" \"{PASSWORD}\"\n"));
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\n\
             pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 200\n",
            server.port(),
            port.number(),
            users.display()
        );
        let settings = file(place.join("pgbouncer.ini"), &settings);
        give(place, USER);
        let mut bouncer = command("pgbouncer", Some(USER), "KILL");
        bouncer.arg(settings);
        let log = place.join("log");
        let process = Process::start(bouncer, &log, "process up", Signal::KILL);
        Self {
            _directory: directory,
            port,
            _process: process,
        }
    }

    /// Where it offers a database, password included.
    pub fn url(&self, database: &str) -> String {
        url(self.port.number(), database)
    }
}
