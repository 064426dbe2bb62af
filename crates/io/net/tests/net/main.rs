//! Both ends over loopback.

#![allow(clippy::unwrap_used)]

mod bounds;
mod certificates;
mod first_flight;
mod http;
mod plane;
mod session;
mod wt;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use darktower_net::{Certs, Client, Config, ConnectError, RecvStream};
use darktower_net::{Server, ServerTrust, Session, Tuning, Url};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// No test waits longer.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(10), future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within 10 s"),
    }
}

fn certs() -> Certs {
    Certs::development(&[], None, SystemTime::now()).unwrap()
}

fn url(addr: SocketAddr, rest: &str) -> Url {
    Url::parse(&format!("https://{addr}{rest}")).unwrap()
}

fn client(certs: &Certs) -> Client {
    Client::new(ServerTrust::Hashes(certs.hashes()), &Tuning::default()).unwrap()
}

struct Pair {
    server: Server,
    client: Client,
    here: Session,
    there: Session,
}

/// A server, a client and the two ends of one session.
async fn pair() -> Pair {
    pair_with(|_| {}).await
}

async fn pair_with(change: impl FnOnce(&mut Config)) -> Pair {
    let certs = certs();
    let mut config = Config::new(ANY, certs.clone());
    change(&mut config);
    let server = Server::bind(config).unwrap();
    let client = client(&certs);
    let (here, there) = soon("a session", connect(&server, &client)).await;
    Pair {
        server,
        client,
        here,
        there,
    }
}

async fn connect(server: &Server, client: &Client) -> (Session, Session) {
    let url = url(server.local_addr(), "/");
    let (here, there) = tokio::join!(client.connect(&url, &[]), async {
        server.accept().await.unwrap().accept().await
    });
    (here.unwrap(), there.unwrap())
}

/// A session as soon as the server has forgotten somebody; until then it refuses at once.
async fn connect_when_freed(server: &Server, client: &Client) -> (Session, Session) {
    let url = url(server.local_addr(), "/");
    let admitted = async {
        loop {
            match client.connect(&url, &[]).await {
                Err(ConnectError::Connection(_)) => {}
                other => return other,
            }
        }
    };
    let (here, there) = tokio::join!(admitted, async {
        server.accept().await.unwrap().accept().await
    });
    (here.unwrap(), there.unwrap())
}

async fn read_all(stream: &mut RecvStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.read_chunk().await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    all
}
