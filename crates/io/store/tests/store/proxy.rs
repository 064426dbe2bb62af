//! Something between a client and its server that misbehaves when it is told to.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What becomes of the server's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    Pass,
    /// Each so much later.
    Late(Duration),
    Never,
    /// Other bytes instead.
    Garbage,
}

/// A proxy on a port of its own, until it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    answers: watch::Sender<Answers>,
    _work: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (answers, told) = watch::channel(Answers::Pass);
        let here = listener.local_addr().unwrap().port();
        let there = SocketAddr::from(([127, 0, 0, 1], port));
        let mut work = JoinSet::new();
        work.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(carry(client, there, told.clone()));
            }
        });
        Self {
            port: here,
            answers,
            _work: work,
        }
    }

    pub(crate) fn answers(&self, how: Answers) {
        self.answers.send_replace(how);
    }
}

async fn carry(mut client: TcpStream, there: SocketAddr, mut told: watch::Receiver<Answers>) {
    let Ok(mut server) = TcpStream::connect(there).await else {
        return;
    };
    let (mut asks, mut says) = ([0; 4096], [0; 4096]);
    loop {
        let (from_server, bytes) = tokio::select! {
            read = client.read(&mut asks) => (false, read),
            read = server.read(&mut says) => (true, read),
        };
        // Either end has gone: so do we.
        let Ok(bytes @ 1..) = bytes else { return };
        let sent = match from_server {
            false => server.write_all(&asks[..bytes]).await,
            true => {
                let how = *told.borrow();
                match how {
                    Answers::Pass => {}
                    Answers::Late(wait) => {
                        // So much later, or when it heals.
                        let heals = told.wait_for(|how| *how == Answers::Pass);
                        let _healed = tokio::time::timeout(wait, heals).await;
                    }
                    Answers::Never => {
                        let heals = told.wait_for(|how| *how != Answers::Never).await;
                        if heals.is_err() {
                            return;
                        }
                    }
                    Answers::Garbage => says[..bytes].fill(b'\xa5'),
                }
                client.write_all(&says[..bytes]).await
            }
        };
        if sent.is_err() {
            return;
        }
    }
}
