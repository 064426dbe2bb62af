//! HAProxy before servers of which any may go.

use std::net::SocketAddr;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::Port;
use crate::process::{Process, command, directory, file};

/// Who runs it where the test is run by root.
const USER: &str = "haproxy";

/// A server that does not answer is found out after two checks; what it was in the middle of ends with that.
const USUAL: &str = "defaults
    timeout connect 500ms
    timeout client 1m
    timeout server 1m
    timeout check 500ms
    default-server check inter 500ms fall 2 rise 2 on-marked-down shutdown-sessions
";

/// What is only read is asked of another server where the first is not there, breaks off or says nothing; what changes
/// something may have been done.
const HTTP: &str = "    mode http
    timeout server 2s
    retries 2
    option redispatch 1
    retry-on conn-failure empty-response response-timeout
    http-request disable-l7-retry unless METH_GET
";

/// One HAProxy: one port for several servers.
#[derive(Debug)]
pub struct HaProxy {
    _directory: TempDir,
    port: Port,
    _process: Process,
}

impl HaProxy {
    /// Before servers of HTTP/1.1 over TCP (this HAProxy speaks no QUIC), which take turns while they answer
    /// `GET health` with 200.
    pub fn before_http(backends: &[SocketAddr], health: &str) -> Self {
        let servers: String = (0..)
            .zip(backends)
            .map(|(n, at)| format!("    server s{n} {at}\n"))
            .collect();
        let check = format!("    option httpchk GET {health}\n    option log-health-checks\n");
        // It asks them once its port is open: what it says before may be said before that.
        Self::start(&format!("{HTTP}{check}{servers}"), "Health check")
    }

    /// Before one PostgreSQL of several: whose Patroni says that it is primary. Ports of servers and of their Patronis.
    pub(crate) fn before_primary(members: &[[u16; 2]]) -> Self {
        let servers: String = (0..)
            .zip(members)
            .map(|(n, [at, patroni])| format!("    server s{n} 127.0.0.1:{at} port {patroni}\n"))
            .collect();
        let check = "    mode tcp\n    option httpchk GET /primary\n    default-server rise 1\n";
        // All are thought well until they were asked.
        Self::start(&format!("{check}{servers}"), "is DOWN")
    }

    fn start(rules: &str, ready: &str) -> Self {
        let directory = directory();
        let place = directory.path();
        let port = Port::take();
        let bind = format!("listen tower\n    bind 127.0.0.1:{}\n", port.number());
        let settings = file(place.join("haproxy.cfg"), &format!("{USUAL}{bind}{rules}"));
        let mut proxy = command("haproxy", Some(USER), "KILL");
        // In the foreground, and saying what it does.
        proxy.args(["-db", "-V", "-f"]).arg(settings);
        let process = Process::start(proxy, &place.join("log"), ready, Signal::KILL);
        Self {
            _directory: directory,
            port,
            _process: process,
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }
}
