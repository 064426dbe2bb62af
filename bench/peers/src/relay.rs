//! `moq-relay` as a process: any broadcast, no authentication, a certificate
//! made here, in a folder of its own: the relay watches the folder.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Stdio;

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// How it is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As it comes: one runtime over all cores.
    Default,
    /// One QUIC worker thread on the same runtime's kind, for a comparison with our one shard.
    OneWorker,
    /// One QUIC worker thread on io_uring: its best.
    IoUring,
}

impl Mode {
    /// The peer's name in a row.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Default => "moq-relay",
            Self::OneWorker => "moq-relay-one-worker",
            Self::IoUring => "moq-relay-io-uring",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Default => &[],
            Self::OneWorker => &["--runtime-workers", "1", "--runtime-pin=false"],
            Self::IoUring => &[
                "--runtime-workers",
                "1",
                "--runtime-pin=false",
                "--runtime-io-uring",
            ],
        }
    }
}

/// A running relay.
pub(crate) struct Relay {
    pub(crate) pid: u32,
    pub(crate) addr: SocketAddr,
    process: Child,
    dir: TempDir,
}

impl Relay {
    pub(crate) async fn start(program: &Path, mode: Mode) -> anyhow::Result<Self> {
        // It says nowhere which port it took, so it is given one that was free a moment ago.
        let addr = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        // It runs in a directory of its own.
        let program = std::fs::canonicalize(program)
            .with_context(|| format!("there is no {}", program.display()))?;
        let dir = tempfile::tempdir()?;
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        let certificates = dir.path().join("certificates");
        std::fs::create_dir(&certificates)?;
        let (chain, key) = (certificates.join("chain.pem"), certificates.join("key.pem"));
        std::fs::write(&chain, made.cert.pem())?;
        std::fs::write(&key, made.signing_key.serialize_pem())?;
        let log = std::fs::File::create(dir.path().join("log"))?;
        let process = Command::new(&program)
            .current_dir(dir.path())
            .args(["--listen", &addr.to_string()])
            .arg("--listen-tls-cert")
            .arg(chain)
            .arg("--listen-tls-key")
            .arg(key)
            .args(["--auth-public", "**"])
            .args(mode.arguments())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let pid = process.id().context("it has ended")?;
        Ok(Self {
            pid,
            addr,
            process,
            dir,
        })
    }

    /// Ends it; what it said last.
    pub(crate) async fn stop(mut self) -> anyhow::Result<String> {
        self.process.kill().await.context("cannot stop the relay")?;
        let log = std::fs::read_to_string(self.dir.path().join("log"))?;
        let last: Vec<_> = log.lines().rev().take(8).collect();
        Ok(last.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }
}
