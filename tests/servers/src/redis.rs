//! One Redis.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{Process, command, run};
use crate::{Authority, Port};

/// What a Redis asks of its clients.
#[derive(Debug, Clone, Copy, Default)]
pub struct With<'a> {
    /// A password.
    pub password: Option<&'a str>,
    /// TLS, with a certificate that this authority vouches for.
    pub authority: Option<&'a Authority>,
}

/// A Redis in memory alone: what is killed has forgotten everything.
#[derive(Debug)]
pub struct Redis {
    directory: TempDir,
    port: Port,
    arguments: Vec<String>,
    process: Option<Process>,
    scheme: &'static str,
    /// What `redis-cli` is told to be let in.
    client: Vec<String>,
}

/// What the server itself and `redis-cli` are told so that they ask for what `with` says, on this port.
pub(crate) struct Door {
    pub(crate) server: Vec<String>,
    pub(crate) client: Vec<String>,
    pub(crate) scheme: &'static str,
}

impl Door {
    /// Certificates are written into `directory`.
    pub(crate) fn at(port: &Port, with: With<'_>, directory: &Path) -> Self {
        let (mut server, mut client) = (Vec::new(), Vec::new());
        let mut say = |name: &str, value: String| server.extend([format!("--{name}"), value]);
        let number = port.number().to_string();
        match with.authority {
            None => say("port", number),
            Some(authority) => {
                let [chain, key, root] = authority.issue(directory);
                let root = root.display().to_string();
                client.extend(["--tls", "--cacert", &root].map(str::to_owned));
                say("port", "0".to_owned());
                say("tls-port", number);
                say("tls-cert-file", chain.display().to_string());
                say("tls-key-file", key.display().to_string());
                say("tls-ca-cert-file", root);
                say("tls-auth-clients", "no".to_owned());
            }
        }
        if let Some(password) = with.password {
            say("requirepass", password.to_owned());
            client.extend(["--no-auth-warning", "-a", password].map(str::to_owned));
        }
        let scheme = with.authority.map_or("redis", |_| "rediss");
        Self {
            server,
            client,
            scheme,
        }
    }
}

const READY: &str = "Ready to accept connections";

impl Redis {
    /// One that asks for nothing.
    pub fn start() -> Self {
        Self::start_with(With::default())
    }

    /// One that asks for what `with` says.
    pub fn start_with(with: With<'_>) -> Self {
        let directory = TempDir::new().expect("a directory");
        let port = Port::take();
        let door = Door::at(&port, with, directory.path());
        Self::start_as(directory, port, door, &[])
    }

    /// One with these arguments besides the usual.
    pub(crate) fn start_as(
        directory: TempDir,
        port: Port,
        door: Door,
        more: &[(&str, String)],
    ) -> Self {
        let mut arguments = door.server;
        for (name, value) in more {
            arguments.extend([format!("--{name}"), value.clone()]);
        }
        let place = directory.path().display().to_string();
        let usual = ["--bind", "127.0.0.1", "--dir", &place, "--save", ""];
        arguments.extend(usual.map(str::to_owned));
        let mut redis = Self {
            directory,
            port,
            arguments,
            process: None,
            scheme: door.scheme,
            client: door.client,
        };
        redis.start_again();
        redis
    }

    /// Starts it after it was killed, on the same port, without what it knew.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let mut server = command("redis-server", None, "KILL");
        server.args(&self.arguments);
        let log = self.directory.path().join("log");
        self.process = Some(Process::start(server, &log, READY, Signal::KILL));
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Where it is, without a password.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port())
    }

    /// Of its URL.
    pub(crate) fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").end(Signal::KILL);
    }

    /// Stops it, so that it neither answers nor goes away.
    pub fn pause(&self) {
        self.process.as_ref().expect("it runs").signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.as_ref().expect("it runs").signal(Signal::CONT);
    }

    /// Whether it was started and not killed.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// What it answers to a command.
    pub fn ask(&self, words: &[&str]) -> String {
        let mut client = Command::new("redis-cli");
        client.args(["-p", &self.port().to_string()]);
        client.args(&self.client).args(words);
        run(client)
    }
}
