//! The state store of another process: the same suite, through gRPC.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use darktower_cluster::grpc::{self, Serving};
use darktower_cluster::{RemoteState, StateService};
use darktower_store::{Error, MemoryState, StateStore, Topic};
use darktower_wire::ids::MeetingId;
use tonic::service::Routes;

pub(crate) const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(crate) async fn serve(listen: SocketAddr, store: Arc<dyn StateStore>) -> Serving {
    let routes = Routes::new(StateService::server(store));
    grpc::serve(listen, routes).await.unwrap()
}

async fn make() -> (RemoteState, Serving) {
    let serving = serve(LOOPBACK, Arc::new(MemoryState::new())).await;
    let url = format!("grpc://{}", serving.addr());
    (RemoteState::new(&url).unwrap(), serving)
}

darktower_store::state_conformance!(make);

mod together {
    use super::*;

    async fn make() -> (Vec<RemoteState>, Serving) {
        let serving = serve(LOOPBACK, Arc::new(MemoryState::new())).await;
        let url = format!("grpc://{}", serving.addr());
        let clients = (0..4).map(|_| RemoteState::new(&url).unwrap()).collect();
        (clients, serving)
    }

    darktower_store::state_conformance_together!(make);
}

#[tokio::test]
async fn a_store_that_went_away_is_told_at_once_and_found_again() {
    let (remote, serving) = make().await;
    let meeting = MeetingId([1; 16]);
    let mut wakes = remote.subscribe(Topic::Nodes).await.unwrap();
    let addr = serving.addr();
    serving.stop(Duration::ZERO).await;
    let asked = Instant::now();
    let lost = remote.read_lease(meeting).await;
    assert!(
        matches!(lost, Err(Error::Unavailable(_) | Error::TimedOut)),
        "{lost:?}"
    );
    assert!(asked.elapsed() < Duration::from_secs(2));
    let ended = tokio::time::timeout(Duration::from_secs(5), wakes.next()).await;
    assert_eq!(ended, Ok(None), "a watch that ended says so");

    let _again = serve(addr, Arc::new(MemoryState::new())).await;
    darktower_store::conformance::eventually("the store is found again", async || {
        remote.read_lease(meeting).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_listener_that_never_answers_costs_no_more_than_the_deadline() {
    let silent = tokio::net::TcpListener::bind(LOOPBACK).await.unwrap();
    let url = format!("grpc://{}", silent.local_addr().unwrap());
    let remote = RemoteState::new(&url).unwrap();
    let asked = Instant::now();
    let lost = remote.read_lease(MeetingId([1; 16])).await;
    assert!(
        matches!(lost, Err(Error::TimedOut | Error::Unavailable(_))),
        "{lost:?}"
    );
    assert!(asked.elapsed() < Duration::from_secs(2));
}
