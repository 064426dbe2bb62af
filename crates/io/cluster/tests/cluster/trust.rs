//! Services that show one another certificates, and those that do not.

use std::path::Path;
use std::sync::Arc;

use darktower_cluster::grpc::{self, Serving};
use darktower_cluster::rpc::{ListNodesRequest, state_client::StateClient};
use darktower_cluster::{NAME, RemoteState, StateService, Trust, TrustError};
use darktower_store::{Error, MemoryState, StateStore};
use darktower_wire::Code;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::service::Routes;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::remote::LOOPBACK;

async fn serve(trust: &Trust) -> Serving {
    let routes = Routes::new(StateService::server(Arc::new(MemoryState::new())));
    grpc::serve_to(trust, LOOPBACK, routes).await.unwrap()
}

fn url(serving: &Serving) -> String {
    format!("grpc://{}", serving.addr())
}

async fn asks(trust: &Trust, url: &str) -> Result<(), Error> {
    RemoteState::of(trust, url)
        .unwrap()
        .list_nodes(None)
        .await?;
    Ok(())
}

fn is_refused(outcome: &Result<(), Error>) -> bool {
    matches!(outcome, Err(Error::Unavailable(_) | Error::TimedOut))
}

#[tokio::test]
async fn processes_that_share_a_directory_know_one_another_and_no_others() {
    let (home, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = Trust::development(home.path()).unwrap();
    let other = Trust::development(home.path()).unwrap();
    let stranger = Trust::development(elsewhere.path()).unwrap();
    let serving = serve(&one).await;
    asks(&other, &url(&serving)).await.unwrap();
    for outcome in [
        asks(&stranger, &url(&serving)).await,
        asks(&Trust::default(), &url(&serving)).await,
    ] {
        assert!(is_refused(&outcome), "{outcome:?}");
    }
    // And who knows others does not speak with one who shows nothing.
    let open = serve(&Trust::default()).await;
    let outcome = asks(&one, &url(&open)).await;
    assert!(is_refused(&outcome), "{outcome:?}");
    let clear = format!("http://{}", open.addr());
    assert!(RemoteState::of(&one, &clear).is_err());
    let key = std::fs::metadata(home.path().join("cluster-authority-key.pem")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&key.permissions());
    assert_eq!(mode & 0o077, 0, "others may not read the key");
}

/// Chain, key and authority in files, as an operator has them; the authority's text.
fn issue(place: &Path) -> String {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let params = CertificateParams::new([NAME.to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let chain = params.signed_by(&key, &authority).unwrap();
    for (name, text) in [
        ("chain.pem", chain.pem()),
        ("key.pem", key.serialize_pem()),
        ("authority.pem", authority.pem()),
    ] {
        std::fs::write(place.join(name), text).unwrap();
    }
    authority.pem()
}

fn of_files(place: &Path) -> Result<Trust, TrustError> {
    let [chain, key, authority] =
        ["chain.pem", "key.pem", "authority.pem"].map(|it| place.join(it));
    Trust::of_files(&chain, &key, &authority)
}

#[tokio::test]
async fn one_who_shows_no_certificate_is_refused_with_a_code() {
    let place = tempfile::tempdir().unwrap();
    let authority = issue(place.path());
    let trust = of_files(place.path()).unwrap();
    let serving = serve(&trust).await;
    asks(&trust, &url(&serving)).await.unwrap();
    let nobody = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority))
        .domain_name(NAME);
    let endpoint = Endpoint::from_shared(grpc::url_in(&trust, serving.addr())).unwrap();
    let channel = endpoint.tls_config(nobody).unwrap().connect_lazy();
    let mut client = StateClient::new(channel);
    let asked = client.list_nodes(ListNodesRequest::default());
    let refused = asked.await.unwrap_err();
    assert_eq!(
        grpc::code_of(&refused),
        Code::Unauthenticated,
        "{refused:?}"
    );
}

#[test]
fn files_that_are_none_or_do_not_belong_together_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let missing = of_files(place.path());
    assert!(
        matches!(missing, Err(TrustError::File { .. })),
        "{missing:?}"
    );
    issue(place.path());
    let other = KeyPair::generate().unwrap();
    std::fs::write(place.path().join("key.pem"), other.serialize_pem()).unwrap();
    let torn = of_files(place.path());
    assert!(matches!(torn, Err(TrustError::Unusable(_))), "{torn:?}");
    std::fs::write(place.path().join("chain.pem"), "nothing").unwrap();
    let nonsense = of_files(place.path());
    assert!(
        matches!(nonsense, Err(TrustError::Unusable(_))),
        "{nonsense:?}"
    );
}
