use bytes::Bytes;
use darktower_net::{ConnectError, Fingerprint};

use crate::*;

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn another_certificate_is_refused() {
    let server = Server::bind(Config::new(ANY, certs())).unwrap();
    let trust = ServerTrust::Hashes(vec![Fingerprint([7; 32])]);
    let client = Client::new(trust, &Tuning::default()).unwrap();
    let refused = soon(
        "refusal",
        client.connect(&url(server.local_addr(), "/"), &[]),
    )
    .await;
    assert!(
        matches!(refused, Err(ConnectError::Untrusted(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_rotation_disturbs_neither_open_sessions_nor_those_who_knew_both_hashes() {
    let now = SystemTime::now();
    let certs = Certs::development(&[], None, now).unwrap();
    let server = Server::bind(Config::new(ANY, certs.clone())).unwrap();
    let (knows_both, knows_first) = (client(&certs), {
        let trust = ServerTrust::Hashes(certs.hashes()[..1].to_vec());
        Client::new(trust, &Tuning::default()).unwrap()
    });
    let (here, there) = soon("before", connect(&server, &knows_both)).await;
    assert!(!certs.rotate(now).unwrap());
    assert!(certs.due(now + 12 * DAY) && certs.rotate(now + 12 * DAY).unwrap());
    soon("after", connect(&server, &knows_both)).await;
    let target = url(server.local_addr(), "/");
    let refused = soon("refusal", knows_first.connect(&target, &[])).await;
    assert!(
        matches!(refused, Err(ConnectError::Untrusted(_))),
        "{refused:?}"
    );
    here.send_datagram(Bytes::from_static(b"still here"))
        .unwrap();
    let got = soon("a datagram", there.recv_datagram()).await.unwrap();
    assert_eq!(got, "still here");
}

#[tokio::test]
async fn a_restart_keeps_the_hash_until_it_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let at = |when| Certs::development(&[], Some(dir.path()), when).unwrap();
    let first = at(now).hashes();
    assert_eq!(at(now + DAY).hashes(), first);
    let second = at(now + 12 * DAY).hashes();
    assert_eq!(second[0], first[1]);
    let named = Certs::development(&["example.org".into()], Some(dir.path()), now).unwrap();
    assert!(!second.contains(&named.hashes()[0]));
    let file = dir.path().join("development-certificate.pem");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    std::fs::write(&file, "names localhost\nvalid garbage").unwrap();
    assert_eq!(at(now).hashes().len(), 2);
}

#[tokio::test]
async fn certificates_from_files_are_verified_by_their_authority() {
    let dir = tempfile::tempdir().unwrap();
    let made = Certs::development(&[], Some(dir.path()), SystemTime::now()).unwrap();
    let file = dir.path().join("development-certificate.pem");
    let certs = Certs::from_files(&file, &file).unwrap();
    assert!(certs.hashes().is_empty());
    assert!(!certs.rotate(SystemTime::now()).unwrap());
    let server = Server::bind(Config::new(ANY, certs)).unwrap();
    let trust = ServerTrust::Pem(made.shown_pem());
    let trusting = Client::new(trust, &Tuning::default()).unwrap();
    soon("trusted", connect(&server, &trusting)).await;
    let system = Client::new(ServerTrust::System, &Tuning::default()).unwrap();
    let refused = soon(
        "refusal",
        system.connect(&url(server.local_addr(), "/"), &[]),
    )
    .await;
    assert!(
        matches!(refused, Err(ConnectError::Untrusted(_))),
        "{refused:?}"
    );
}

#[test]
fn files_without_a_certificate_or_key_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    let missing = dir.path().join("missing.pem");
    std::fs::write(&empty, "nothing\n").unwrap();
    for (chain, key) in [(&empty, &empty), (&missing, &empty)] {
        let error = Certs::from_files(chain, key).unwrap_err().to_string();
        assert!(error.contains(".pem"), "{error}");
    }
}
